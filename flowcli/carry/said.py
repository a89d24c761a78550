"""What a network says of each pixel of key frames, carried along chained flow as masks are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, pairwise

from torch import Tensor

from flowcli.carry.evidence import Evidence
from flowcli.carry.features import Runs
from flowcli.carry.stream import Carried, carry
from flowcli.carry.ways import Chained, Settling, Ways, begin
from flowcli.engine.engine import Engine
from flowcli.engine.schedule import Consecutive, Keys
from flowcli.nets.outputs import Meaning, Outputs, read_outputs
from flowcli.pipeline import Stopwatch
from flowcli.types import Frame


class RegularKeys:
    """Every Nth frame of a shot, from the first on, and the last one."""

    def __init__(self, interval: int) -> None:
        self._interval = interval
        self._indices: set[int] = set()

    def noted(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """The same frames, of which one is read ahead."""
        place = 0
        for frame, following in pairwise(chain(frames, (None,))):
            assert frame is not None
            place = 0 if frame.cut else place
            if place % self._interval == 0 or following is None or following.cut:
                self._indices.add(frame.index)
            place += 1
            yield frame

    def take(self, frame: Frame) -> bool:
        """Whether the frame is one; asked once for each."""
        found = frame.index in self._indices
        self._indices.discard(frame.index)
        return found


class _Timed(Chained):
    """The same, counting the time for it."""

    def __init__(self, watch: Stopwatch) -> None:
        self._watch = watch

    def carry(self, value: Ways, flow: Tensor, evidence: Evidence) -> Ways:
        with self._watch.timed(items=0):
            return super().carry(value, flow, evidence)


def carry_said(
    engine: Engine, frames: Iterable[Frame], runs: Runs, meaning: Meaning, interval: int, sides: Keys
) -> Iterator[Carried[Outputs]]:
    """Each frame with what the network says of it, in order: its own on key frames, else what was carried.

    frames: with cuts marked; every `interval`th of a shot, and its last one, is a key frame. meaning: "classes", which
    are carried as labels, or "probability", as a matte. Frames wait for the key frame after them, if `sides` has it.
    """
    net, watch, keys = runs.net, runs.times.carry, RegularKeys(interval)

    def key(frame: Frame) -> Ways | None:
        if not keys.take(frame):
            return None
        said = read_outputs(runs(frame), net.parts.port.layout, meaning, net.name)
        return begin(said.shown(net.convention, *frame.image.shape[:2]).to(engine.device), frame)

    linked = engine.link(keys.noted(frames), Consecutive("backward" if sides == "before" else "both"))
    settling = Settling()
    for each in carry(linked, key, _Timed(watch), sides, interval):
        with watch.timed():
            settled = settling(each)
        value = None if settled.value is None else Outputs((), meaning, settled.value)
        yield Carried(settled.frame, value, settled.confidence, settled.key)
