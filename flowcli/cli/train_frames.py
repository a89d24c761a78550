"""`flowcli train` for networks that make frames."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flowcli.cli.grouping import is_given
from flowcli.cli.options import TalkOptions
from flowcli.cli.stopping import tell_stopped, until_interrupted
from flowcli.cli.streams import echo
from flowcli.errors import UsageError
from flowcli.interpolation.options import ALONG_FLOW
from flowcli.train.options import FrameTrainOptions

if TYPE_CHECKING:
    from flowcli.train.frames import FrameProgress

COMMON = ("steps", "batch", "rate", "seed", "loss")
"""Options that are also of these networks, with defaults of their own."""
FLOW_ONLY = ("warm", "hold", "vary", "easy", "kinds", "workers", "real", "precision")
ALONG_FLOW_ONLY = ("videos", "scenes")


def train(folder: Path, minutes: float | None, init: Path | None, device: str, talk: TalkOptions) -> Path:
    """The path of the weights. Raises UsageError for options that these networks do not have."""
    params = click.get_current_context().params
    given = {name: value for name, value in params.items() if is_given(name)}
    network = params["network"]
    for name in FLOW_ONLY:
        if name in given:
            raise UsageError(f"--{name} is for networks of flow, {network} makes frames", "leave it out")
    for name in ALONG_FLOW_ONLY:
        if name in given and network not in ALONG_FLOW:
            raise UsageError(f"--{name} is not for {network}", "leave it out")

    from flowcli.engine.precision import choose_device
    from flowcli.train.frames import train_frames

    own: dict[str, Any] = {name: given[name] for name in (*COMMON, "scenes") if name in given}
    own |= {name: str(given[name]) for name in ("textures", "videos") if name in given}
    if "crop" in given:
        height, own["crop"] = given["crop"]
        if height != own["crop"]:
            raise UsageError(f"{network} is trained on squares, not {own['crop']}x{height}", "give one side")
    with until_interrupted() as stop:
        weights = train_frames(
            FrameTrainOptions.of(network, settings=dict(params["settings"]), **own),
            folder,
            device=str(choose_device(device)),
            minutes=math.inf if minutes is None else minutes,
            stop=stop,
            init=init,
            report=lambda progress: None if talk.quiet else _show(progress),
        )
        stopped = stop()
    if stopped:
        tell_stopped(talk)
    return weights


def refuse() -> None:
    """Raises UsageError if a network of flow is given what only these networks have."""
    for name in ("loss", "videos"):
        if is_given(name):
            raise UsageError(f"--{name} is for networks that make frames", "leave it out")


def _show(progress: FrameProgress) -> None:
    if progress.psnr is not None:
        minutes = progress.seconds / 60
        state = f"step {progress.step}, {minutes:.1f} min: loss {progress.loss:.4f}"
        echo(f"{state}, validation PSNR {progress.psnr:.2f} dB", err=True)
