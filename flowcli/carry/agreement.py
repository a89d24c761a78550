"""How far what was carried agrees with what the network says itself."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from flowcli.carry.stream import Carried
from flowcli.nets.net import Net
from flowcli.nets.outputs import Meaning, Outputs, read_outputs
from flowcli.pipeline import Stopwatch

_HALF = 0.5


@dataclass(eq=False)
class Agreement:
    """Over the frames that were compared, none of them a key frame."""

    frames: int = 0
    watch: Stopwatch = field(default_factory=Stopwatch)
    """The time for it."""
    _meaning: Meaning = "tensors"
    _hits: dict[int, int] = field(default_factory=dict)
    _unions: dict[int, int] = field(default_factory=dict)
    _equal: int = 0
    _pixels: int = 0
    _squares: float = 0.0
    _power: float = 0.0

    def add(self, meaning: Meaning, one: Tensor, other: Tensor) -> None:
        """Both of one frame, as `Outputs.shown` gives them; the other is the network's own."""
        self._meaning = meaning
        self.frames += 1
        self._pixels += one.numel()
        if self._meaning in ("picture", "tensors"):
            self._squares += float((one.double() - other.double()).square().sum())
            self._power += float(other.double().square().sum())
            return
        if self._meaning == "probability":
            one, other = ((each > _HALF).int() for each in (one, other))
        self._equal += int((one == other).sum())
        for number in torch.cat((one.unique(), other.unique())).unique().tolist():
            mine, own = one == number, other == number
            self._hits[number] = self._hits.get(number, 0) + int((mine & own).sum())
            self._unions[number] = self._unions.get(number, 0) + int((mine | own).sum())

    def summary(self) -> dict[str, float | None]:
        """mIoU and pixel accuracy of classes, IoU of probabilities above 0.5, PSNR of pictures, else relative error."""
        if not self.frames:
            return {}
        if self._meaning == "picture":
            return {"psnr": _decibel(self._squares / self._pixels)}
        if self._meaning == "tensors":
            return {"relative_error": math.sqrt(self._squares / max(self._power, 1e-30))}
        shares = {number: self._hits[number] / self._unions[number] for number in self._unions}
        accuracy = self._equal / self._pixels
        if self._meaning == "probability":
            return {"iou": shares.get(1, 1.0), "pixel_accuracy": accuracy}
        return {"miou": sum(shares.values()) / len(shares), "pixel_accuracy": accuracy}


def _decibel(square: float) -> float | None:
    return -10 * math.log10(square) if square else None


def compared(
    frames: Iterable[Carried[Outputs]], net: Net, agreement: Agreement, most: int, total: int | None
) -> Iterator[Carried[Outputs]]:
    """The same frames; of those that are no key frames, up to `most` are compared, spread evenly over `total`.

    total: how many frames there are; None if that is unknown: the first ones are compared then.
    """
    for place, each in enumerate(frames):
        due = agreement.frames < most and agreement.frames * (total or most) <= place * most
        if due and not each.key and each.value is not None:
            with agreement.watch.timed():
                layout, meaning = net.parts.port.layout, each.value.meaning
                own = read_outputs(net.whole(each.frame), layout, meaning, net.name)
                size = each.frame.image.shape[:2]
                agreement.add(meaning, *(value.shown(net.convention, *size) for value in (each.value, own)))
        yield each
