"""Batches of training pairs in a fixed order: rendered on the GPU as they are needed, or kept on disk for a CPU."""

from __future__ import annotations

import hashlib
import inspect
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from flowcli import geometry
from flowcli.atomic import Part
from flowcli.train import dice, kinds, layers, motion, recording, rendering, scenes, synthetic, textures
from flowcli.train.dice import Dice
from flowcli.train.options import KINDS
from flowcli.train.synthetic import Pairs, make_pairs

Size = tuple[int, int]
"""Height and width, pixels."""

LARGEST_SCALE = 1.5
BARRED = 0.1
"""Share of pairs between bars, each at most WIDEST_BAR of the picture."""
WIDEST_BAR = 0.2
SHIFT = 8
"""Longest shift of the first, easy pairs, pixels."""
CODED, QUALITY = 0.15, (20, 37)
"""Share of the scenes kept on disk that go through x264, and its constant rate factor, from good to bad.

At 44 it repeats parts of the first frame instead of moving them.
"""
MARGIN = 64
"""Rendered scenes are this much larger than a crop, so that one scene gives many crops."""


@dataclass(frozen=True)
class Batch:
    """first, second: (B, 3, H, W) float32 RGB in [0, 1]; flow: (B, 2, H, W) pixels; occluded: (B, H, W) bool."""

    first: Tensor
    second: Tensor
    flow: Tensor
    occluded: Tensor

    @staticmethod
    def of(pairs: Pairs) -> Batch:
        """The batch of these pairs, as they are."""
        return Batch(pairs.first.float() / 255, pairs.second.float() / 255, pairs.flow, pairs.occluded)


def augmented(pairs: Pairs, crop: Size, generator: torch.Generator) -> Pairs:
    """The same pairs as `crop` pixels: place, scale, mirroring and colours are random, and transposition of squares."""
    height, width = pairs.flow.shape[-2:]
    shrink = 1.0
    if _draw(generator) < 0.5:
        shrink = 0.8 + (LARGEST_SCALE - 0.8) * _draw(generator)
    shrink = max(shrink, crop[0] / height, crop[1] / width)
    tall, wide = (round(side / shrink) for side in crop)
    top, left = (
        int(torch.randint(0, size - side + 1, (), generator=generator))
        for size, side in ((height, tall), (width, wide))
    )
    flip_x, flip_y, transpose = (_draw(generator) < 0.5 for _ in range(3))
    transpose = transpose and crop[0] == crop[1]

    def turned(tensor: Tensor) -> Tensor:
        part = tensor[..., top : top + tall, left : left + wide]
        part = part.flip(-1) if flip_x else part
        part = part.flip(-2) if flip_y else part
        return part.mT if transpose else part

    u, v = turned(pairs.flow).unbind(1)
    u, v = (-u if flip_x else u), (-v if flip_y else v)
    flow = torch.stack([v, u] if transpose else [u, v], 1)
    first, second, occluded = turned(pairs.first), turned(pairs.second), turned(pairs.occluded)
    if (tall, wide) != crop:
        flow = geometry.resize_flow(flow, *crop)
        first, second = (_bytes(geometry.resize_image(image.float(), *crop)) for image in (first, second))
        occluded = F.interpolate(occluded[:, None].float(), crop)[:, 0] > 0
    pairs = recoloured(Pairs(first, second, flow, occluded), generator)
    return barred(pairs, generator) if _draw(generator) < BARRED else pairs


def recoloured(pairs: Pairs, generator: torch.Generator) -> Pairs:
    """The same pairs in other colours: their order, and for every second pair contrast, brightness and saturation."""
    order = torch.randperm(3, generator=generator)
    first, second = pairs.first[:, order], pairs.second[:, order]
    if _draw(generator) < 0.5:
        contrast = 2 ** (_draw(generator) - 0.5)
        brightness = 60 * (_draw(generator) - 0.5)
        saturation = 0.3 + _draw(generator)

        def looking_different(image: Tensor) -> Tensor:
            grey = image.float().mean(1, keepdim=True)
            return _bytes(contrast * torch.lerp(grey, image.float(), saturation) + brightness)

        first, second = looking_different(first), looking_different(second)
    return Pairs(first, second, pairs.flow, pairs.occluded)


def barred(pairs: Pairs, generator: torch.Generator) -> Pairs:
    """The same pairs between two dark bars that do not move, as films have them above and below, or at the sides."""
    first, second, flow, occluded = (
        pairs.first.clone(),
        pairs.second.clone(),
        pairs.flow.clone(),
        pairs.occluded.clone(),
    )
    axis = int(torch.randint(2, 4, (), generator=generator))
    size = flow.shape[axis]
    low, high = (1 + int(size * WIDEST_BAR * _draw(generator)) for _ in range(2))
    level = int(torch.randint(0, 30, (), generator=generator))
    to = geometry.grid(flow.shape[2], flow.shape[3], flow.device)[3 - axis] + flow[:, 3 - axis]
    occluded |= (to < low) | (to > size - 1 - high)
    for bar in (slice(low), slice(size - high, None)):
        part = (slice(None), slice(None), *((bar, slice(None)) if axis == 2 else (slice(None), bar)))
        first[part], second[part], flow[part] = level, level, 0.0
        occluded[part[:1] + part[2:]] = False
    return Pairs(first, second, flow, occluded)


def _draw(generator: torch.Generator) -> float:
    return torch.rand((), generator=generator).item()


def _bytes(image: Tensor) -> Tensor:
    return image.round().clamp(0, 255).to(torch.uint8)


def shifted(pairs: Pairs, generator: torch.Generator) -> Pairs:
    """The first frames and copies of them, each shifted as a whole by up to SHIFT pixels; smaller by 2 SHIFT.

    What a network learns first: with flow that is the same everywhere, all pixels agree on what the costs mean.
    """
    height, width = (side - 2 * SHIFT for side in pairs.flow.shape[-2:])
    moves = torch.randint(-SHIFT, SHIFT + 1, (len(pairs.first), 2), generator=generator)
    first = pairs.first[..., SHIFT : SHIFT + height, SHIFT : SHIFT + width]
    second = [
        image[:, SHIFT - v : SHIFT - v + height, SHIFT - u : SHIFT - u + width]
        for image, (u, v) in zip(pairs.first, moves.tolist(), strict=True)
    ]
    flow = moves.to(pairs.flow)[:, :, None, None].expand(-1, -1, height, width)
    x, y = (geometry.grid(height, width, flow.device) + flow).unbind(1)
    return Pairs(first, torch.stack(second), flow, (x < 0) | (x >= width) | (y < 0) | (y >= height))


class CachedScenes(Dataset[Pairs]):
    """Position k of an endless training order over `count` scenes, cut to `crop`; each is rendered once, then read.

    Each pass over the scenes has its own order and its own augmentation, both functions of (seed, k). The first `easy`
    positions are `shifted`.
    """

    def __init__(
        self,
        bank: Tensor,
        folder: Path,
        seed: int,
        count: int,
        crop: Size,
        easy: int = 0,
        kinds: Sequence[str] = KINDS,
    ) -> None:
        self.bank, self.seed, self.count, self.crop, self.easy, self.kinds = bank, seed, count, crop, easy, kinds
        self.size = crop[0] + MARGIN, crop[1] + MARGIN
        height, width = self.size
        chosen = "" if tuple(kinds) == KINDS else f"-{'-'.join(kinds)}"
        self.folder = folder / f"seed{seed}-size{width}x{height}{chosen}-{fingerprint(bank)}"
        self.folder.mkdir(parents=True, exist_ok=True)

    def __getitem__(self, position: int) -> Pairs:
        epoch, rank = divmod(position, self.count)
        order = np.random.default_rng((self.seed, epoch)).permutation(self.count)
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + position)
        pairs = self.scene(int(order[rank]))
        return augmented(shifted(pairs, generator) if position < self.easy else pairs, self.crop, generator)

    def scene(self, index: int) -> Pairs:
        """Scene `index` as a batch of one, from the disk if it has been rendered before."""
        stored = kept(self.folder / f"{index:06d}.safetensors", lambda: self._stored(index))
        return Pairs(**{**stored, "flow": stored["flow"].float()})

    def _stored(self, index: int) -> dict[str, Tensor]:
        pairs = self._rendered(index)
        # Half precision keeps 0.03 px at 64 px and far less below: the cache is half as large.
        return {**vars(pairs), "flow": pairs.flow.half()}

    def _rendered(self, index: int) -> Pairs:
        pairs = make_pairs(self.bank, self.seed, [index], *self.size, self.kinds)
        chance = Dice(self.seed * 1_000_003 + index)
        if not chance.chance(CODED):
            return pairs
        # Not at the top: a machine that renders scenes as it needs them may be without ffmpeg.
        from flowcli.train.codec import through_h264

        return through_h264(pairs, chance.integer(*QUALITY))


def kept(path: Path, make: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """The tensors in a file; if there is none, they are made and written first."""
    if not path.exists():
        made = make()
        path.parent.mkdir(parents=True, exist_ok=True)
        with Part(path, overwrite=True) as part:
            save_file(made, part.path)
    return load_file(path)


def fingerprint(bank: Tensor, *more: ModuleType) -> str:
    """Changes with the textures and with the code that makes scenes of them, so that no stale scene is read."""
    digest = hashlib.sha256(bank.numpy().data)
    for module in (textures, dice, scenes, layers, kinds, motion, rendering, recording, synthetic, *more):
        digest.update(inspect.getsource(module).encode())
    return digest.hexdigest()[:12]


def joined(items: list[Pairs]) -> Pairs:
    """One batch of several."""
    return Pairs(*(torch.cat([vars(item)[name] for item in items]) for name in ("first", "second", "flow", "occluded")))


def _apart(pairs: Pairs) -> list[Pairs]:
    """Batches of one, of one batch."""
    parts = (vars(pairs)[name].split(1) for name in ("first", "second", "flow", "occluded"))
    return [Pairs(*each) for each in zip(*parts, strict=True)]


def cached_batches(data: CachedScenes, batch: int, start: int, workers: int) -> Iterator[Batch]:
    """Batches number `start`, `start` + 1, ... without end; `workers` processes render and read ahead."""
    positions = range(start * batch, 2**62)
    loader = DataLoader(
        data,
        batch_size=batch,
        sampler=positions,
        num_workers=workers,
        collate_fn=joined,
        prefetch_factor=4 if workers else None,
        worker_init_fn=_single_thread,
    )
    for pairs in loader:
        yield Batch.of(pairs)


def _single_thread(worker: int) -> None:
    torch.set_num_threads(1)


def rendered_batches(
    bank: Tensor,
    seed: int,
    batch: int,
    start: int,
    crop: Size,
    easy: int = 0,
    kinds: Sequence[str] = KINDS,
) -> Iterator[Batch]:
    """Batches number `start`, ... rendered on the bank's device, no scene twice. The first `easy` are `shifted`.

    Scenes that are all new need no crops and no turns, only other colours.
    """
    for number in itertools.count(start):
        margin = 2 * SHIFT if number < easy else 0
        indices = range(number * batch, (number + 1) * batch)
        pairs = make_pairs(bank, seed, indices, crop[0] + margin, crop[1] + margin, kinds)
        generator = torch.Generator().manual_seed(seed * 1_000_003 + number)
        if number < easy:
            pairs = shifted(pairs, generator)
        yield Batch.of(joined([recoloured(each, generator) for each in _apart(pairs)]))
