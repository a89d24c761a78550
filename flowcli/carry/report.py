"""What a run has carried, counted on the way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from flowcli.carry.stream import Carried

Value = TypeVar("Value")


@dataclass
class Tally:
    """Numbers of frames, of key frames among them, and of frames that nothing was carried to."""

    frames: int = 0
    keys: int = 0
    empty: int = 0
    confidence: float = 0.0
    """The sum of the mean confidences of frames that are no keys."""

    @property
    def mean_confidence(self) -> float | None:
        """Over the frames that something was carried to, 0 to 1; None if there were none."""
        carried = self.frames - self.keys - self.empty
        return self.confidence / carried if carried else None

    def counted(self, frames: Iterable[Carried[Value]]) -> Iterator[Carried[Value]]:
        """The same frames."""
        for each in frames:
            self.frames += 1
            self.keys += each.key
            self.empty += each.value is None
            if each.confidence is not None and not each.key:
                self.confidence += float(each.confidence.mean())
            yield each
