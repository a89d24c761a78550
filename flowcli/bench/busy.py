"""The network beside other programs that want the cores, too."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from flowcli.bench import Setup, cores, scene
from flowcli.bench.clock import Clock, Spread, rounds
from flowcli.bench.network import TURN, steps
from flowcli.environment import for_children

_SPIN = """
import os
parent = os.getppid()
print(flush=True)
while os.getppid() == parent:
    sum(range(10_000))
"""
_SETTLED = 0.3
"""Seconds until the system shares the cores evenly among those that began and those that were there."""


@dataclass(frozen=True)
class Busy:
    """Seconds are those of one pair."""

    programs: int
    """That spin."""
    quiet: Spread
    beside: Spread
    """While the others spin."""
    fair: float
    """How many times as long as when it is quiet it would take if every thread got an equal share of the cores."""
    over_fair: float
    """How many times as long as that it takes."""


def measure(setup: Setup, programs: int) -> Busy:
    """The network of the setup beside so many programs that do nothing but spin. Raises WeightsError, DeviceError."""
    engine = setup.open_engine()
    clock = Clock(engine.device)
    call = steps(engine, list(scene.frames(setup.height, setup.width, max(TURN) + 1)))
    quiet: list[float] = []
    beside: list[float] = []
    with torch.inference_mode():
        call()
        for _ in rounds(setup.seconds):
            quiet.append(clock.seconds(call) / engine.batch)
            with spinning(programs):
                call()
                beside.append(clock.seconds(call) / engine.batch)
    spreads = Spread.of(quiet), Spread.of(beside)
    fair = fair_share(torch.get_num_threads(), programs, cores())
    return Busy(programs, *spreads, fair, spreads[1].median / (fair * spreads[0].median))


def fair_share(threads: int, programs: int, cores: int) -> float:
    """How many times as long `threads` take beside `programs` of one thread each, if all get equal shares."""
    return max(1.0, (threads + programs) / max(cores, threads))


@contextmanager
def spinning(count: int) -> Iterator[None]:
    """So many programs that spin until this block, or this process, ends."""
    program = [sys.executable, "-I", "-S", "-c", _SPIN]
    started = [
        subprocess.Popen(program, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=for_children())
        for _ in range(count)
    ]
    try:
        for each in started:
            assert each.stdout is not None
            each.stdout.readline()
        time.sleep(_SETTLED)
        yield
    finally:
        for each in started:
            each.kill()
            each.communicate()
