"""How the network is trained that makes frames along our own flow: on generated scenes and on frames of videos.

Scenes are rendered once, at five times each, and kept on the disk; of a video, each three frames that follow each other
are a clip. In a part of the steps the two frames that are given are smaller than the one that is wanted.
"""

from __future__ import annotations

import hashlib
import inspect
import math
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from flowcli.engine.precision import choose_precision, converted
from flowcli.geometry import crop, pad_to
from flowcli.models.base import FlowModel
from flowcli.train import footage
from flowcli.train.clips import VALIDATION_SCENES, VALIDATION_SEED, Clips
from flowcli.train.data import fingerprint, kept
from flowcli.train.dice import Dice
from flowcli.train.footage import CLIP, draw_footage
from flowcli.train.kinds import draw_scene
from flowcli.train.options import FrameTrainOptions
from flowcli.train.rendering import render
from flowcli.weights import entries, loading

FLOW = "rpwc"
"""The model whose flow the network learns to work with."""
TIMES = (0.0, 0.25, 0.5, 0.75, 1.0)
"""At which scenes are rendered."""
SPANS = ((0, 1, 4), (0, 2, 4), (0, 3, 4), (0, 1, 2), (1, 2, 3), (2, 3, 4))
"""Places in a scene's frames: the first, the one that is wanted, and the second."""
KINDS = ("mixed", "walls", "depth", "bodies", "things")
"""Of scenes. What whips do, no frame between two shows."""
MARGIN = 32
"""By how much frames are larger than what is cut of them."""
FOOTAGE = 0.5
"""Share of steps on frames of videos, if there are any."""
LARGER = 0.35
"""Share of steps in which the wanted frame is larger, up to MOST times, than the two that are given."""
MOST = 4.0
STILL = 0.3
"""Share of those steps in which it is wanted at the time of the first."""
CODED, QUALITY = 0.4, (20, 36)
"""Share of scenes that go through a codec, and of which quality (x264's crf)."""
WARM = 0.02
"""Share of the steps over which the rate rises."""
SLOWEST = 0.01
"""Share of the highest rate at the end."""


class Moving:
    """The recipe. folder: what is rendered is kept there."""

    autocast = True

    def __init__(self, bank: Tensor, options: FrameTrainOptions, folder: Path, device: torch.device) -> None:
        self._options, self._device = options, device
        self._clips = _DrawnClips(bank, options, folder)
        flow = loading.load(entries.resolve(FLOW))
        self._flow: FlowModel = converted(flow, device, choose_precision("auto", device, flow.precisions))

    def batches(self, start: int) -> Iterator[Clips]:
        numbers = range(start, 2**62)
        loader = DataLoader(
            self._clips, batch_size=None, sampler=numbers, num_workers=1, prefetch_factor=4, worker_init_fn=_alone
        )
        for clips in loader:
            yield self._with_flow(clips)

    def unseen(self) -> list[Clips]:
        frames = self._clips.unseen()
        return [self._with_flow(_clips(frames, 0.5, factor)) for factor in (1.0, 2.0)]

    def rate(self, step: int) -> float:
        share = step / self._options.steps
        if share < WARM:
            return (share + 1 / self._options.steps) / WARM
        return SLOWEST + (1 - SLOWEST) * (1 + math.cos(math.pi * (share - WARM) / (1 - WARM))) / 2

    @torch.no_grad()
    def _with_flow(self, clips: Clips) -> Clips:
        first, second, *frames = (each.to(self._device) for each in (clips.first, clips.second, *clips.frames))
        given, part = pad_to(torch.cat((first, second)), self._flow.stride, self._flow.least)
        flow = self._flow.result(given, torch.cat(given.chunk(2)[::-1]))
        forward, backward = crop(flow.float(), part).chunk(2)
        return Clips(first, second, clips.times, frames, (forward, backward))


class _DrawnClips(Dataset[Clips]):
    """Batch k of an endless course, a function of the options and k."""

    def __init__(self, bank: Tensor, options: FrameTrainOptions, folder: Path) -> None:
        self._bank, self._options = bank, options
        self._side = options.crop + MARGIN
        self._folder = folder / f"clips-seed{options.seed}-size{self._side}-{fingerprint(bank, sys.modules[__name__])}"
        self._footage: Tensor | None = None

    def __getitem__(self, number: int) -> Clips:
        options, dice = self._options, Dice(self._options.seed * 1_000_003 + number)
        filmed = options.videos is not None and dice.chance(FOOTAGE)
        factor = dice.number(1, MOST) if dice.chance(LARGER) else 1.0
        first, middle, second = (0, 1, 2) if filmed else SPANS[dice.integer(0, len(SPANS))]
        if factor > 1 and dice.chance(STILL):
            middle = first
        cuts = []
        for _ in range(options.batch):
            frames = self._from_video(dice) if filmed else self._scene(dice.integer(0, options.scenes))
            cuts.append(_cut(frames[[first, middle, second]], options.crop, dice))
        return _clips(torch.stack(cuts), (middle - first) / (second - first), factor)

    def unseen(self) -> Tensor:
        """(B, CLIP, 3, H, W) uint8: of scenes that no run is trained on; the second frame is in the middle."""
        side = self._options.crop
        frames = _rendered(self._bank, VALIDATION_SEED, range(VALIDATION_SCENES), side, (0.0, 0.5, 1.0))
        return torch.stack(frames, 1)

    def _scene(self, index: int) -> Tensor:
        """(5, 3, S, S) uint8: the scene, from the disk if it has been rendered before."""
        return kept(self._folder / f"{index:06d}.safetensors", lambda: {"frames": self._recorded(index)})["frames"]

    def _recorded(self, index: int) -> Tensor:
        frames = torch.cat(_rendered(self._bank, self._options.seed, range(index, index + 1), self._side, TIMES))
        dice = Dice(self._options.seed * 1_000_003 + index)
        if not dice.chance(CODED):
            return frames
        from flowcli.train.codec import coded

        return coded(frames, dice.integer(*QUALITY))

    def _from_video(self, dice: Dice) -> Tensor:
        """(3, 3, S, S) uint8: three frames of a video that follow each other."""
        if self._footage is None:
            videos, seed, side = self._options.videos, self._options.seed, self._side
            assert videos is not None
            name = hashlib.sha256(f"{videos} {seed} {side} {inspect.getsource(footage)}".encode()).hexdigest()[:12]
            path = self._folder.parent / f"footage-{name}.safetensors"
            self._footage = kept(path, lambda: {"clips": draw_footage(Path(videos), side, seed)})["clips"]
        return self._footage[dice.integer(0, len(self._footage))]


def _alone(worker: int) -> None:
    torch.set_num_threads(1)


def _rendered(bank: Tensor, seed: int, indices: range, side: int, times: tuple[float, ...]) -> list[Tensor]:
    """Frames (B, 3, side, side) uint8, one for each time."""
    scene = draw_scene(seed, indices, side, side, len(bank), KINDS)
    return [(frame.clamp(0, 1) * 255).round().to(torch.uint8) for frame in render(scene, bank, side, side, times)]


def _cut(frames: Tensor, side: int, dice: Dice) -> Tensor:
    """(CLIP, 3, side, side): a part of the frames (CLIP, 3, S, S), turned and mirrored, with its colours exchanged."""
    top, left = (dice.integer(0, frames.shape[-1] - side + 1) for _ in range(2))
    part = frames[..., top : top + side, left : left + side]
    part = part.transpose(-1, -2) if dice.chance(0.5) else part
    part = part.flip([dimension for dimension in (-1, -2) if dice.chance(0.5)])
    return part[:, torch.randperm(3, generator=dice.generator)]


def _clips(frames: Tensor, time: float, factor: float) -> Clips:
    """frames: (B, CLIP, 3, H, W) uint8: the first, the wanted and the second one."""
    first, middle, second = (frames[:, place].float() / 255 for place in range(CLIP))
    if factor > 1:
        side = round(middle.shape[-1] / factor)
        first, second = (F.interpolate(each, (side, side), mode="area") for each in (first, second))
    return Clips(first, second, (time,), [middle])
