"""Batches of training pairs in a fixed order: rendered on the GPU as they are needed, or kept on disk for a CPU."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from flowcli.train.synthetic import Pairs, make_pairs

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


def augmented(pairs: Pairs, crop: int, generator: torch.Generator) -> Pairs:
    """The same pairs cut to `crop` x `crop` at a random place, mirrored, transposed and with swapped colours at random."""
    height, width = pairs.flow.shape[-2:]
    top, left = (int(torch.randint(0, size - crop + 1, (), generator=generator)) for size in (height, width))
    flip_x, flip_y, transpose = (bool(torch.rand((), generator=generator) < 0.5) for _ in range(3))
    colours = torch.randperm(3, generator=generator)

    def turned(tensor: Tensor) -> Tensor:
        part = tensor[..., top : top + crop, left : left + crop]
        part = part.flip(-1) if flip_x else part
        part = part.flip(-2) if flip_y else part
        return part.mT if transpose else part

    u, v = turned(pairs.flow).unbind(1)
    u, v = (-u if flip_x else u), (-v if flip_y else v)
    flow = torch.stack([v, u] if transpose else [u, v], 1)
    first, second = (turned(image)[:, colours] for image in (pairs.first, pairs.second))
    return Pairs(first, second, flow, turned(pairs.occluded))


class CachedScenes(Dataset[Pairs]):
    """Position k of an endless training order over `scenes` scenes, cut to `crop`; each scene is rendered once, then read.

    Each pass over the scenes has its own order and its own augmentation, both functions of (seed, k).
    """

    def __init__(self, bank: Tensor, folder: Path, seed: int, scenes: int, crop: int) -> None:
        self.bank, self.seed, self.scenes, self.crop = bank, seed, scenes, crop
        self.size = crop + MARGIN
        self.folder = folder / f"seed{seed}-size{self.size}-textures{bank.shape[0]}"
        self.folder.mkdir(parents=True, exist_ok=True)

    def __getitem__(self, position: int) -> Pairs:
        epoch, rank = divmod(position, self.scenes)
        order = np.random.default_rng((self.seed, epoch)).permutation(self.scenes)
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + position)
        return augmented(self.scene(int(order[rank])), self.crop, generator)

    def scene(self, index: int) -> Pairs:
        """Scene `index` as a batch of one, from the disk if it has been rendered before."""
        path = self.folder / f"{index:06d}.npz"
        if path.exists():
            with np.load(path) as stored:
                arrays = {name: torch.from_numpy(stored[name]) for name in stored.files}
            return Pairs(arrays["first"], arrays["second"], arrays["flow"].float(), arrays["occluded"])
        pairs = make_pairs(self.bank, self.seed, [index], self.size, self.size)
        # Half precision keeps 0.03 px at 64 px and far less below: the cache is half as large.
        arrays = {**vars(pairs), "flow": pairs.flow.half()}
        part = path.with_suffix(f".{os.getpid()}.npz")
        np.savez(part, **{name: tensor.numpy() for name, tensor in arrays.items()})
        os.replace(part, path)
        return Pairs(pairs.first, pairs.second, arrays["flow"].float(), pairs.occluded)


def joined(items: list[Pairs]) -> Pairs:
    """One batch of several."""
    return Pairs(*(torch.cat([vars(item)[name] for item in items]) for name in ("first", "second", "flow", "occluded")))


def cached_batches(data: CachedScenes, batch: int, start: int, workers: int) -> Iterator[Batch]:
    """Batches number `start`, `start` + 1, ... without end; `workers` processes render and read ahead."""
    positions = range(start * batch, 2**62)
    loader = DataLoader(
        data, batch_size=batch, sampler=positions, num_workers=workers, collate_fn=joined,
        prefetch_factor=4 if workers else None, worker_init_fn=_single_thread,
    )
    for pairs in loader:
        yield Batch.of(pairs)


def _single_thread(worker: int) -> None:
    torch.set_num_threads(1)


def rendered_batches(bank: Tensor, seed: int, batch: int, start: int, crop: int) -> Iterator[Batch]:
    """Batches number `start`, ... each rendered on the bank's device: no scene comes twice."""
    number = start
    while True:
        yield Batch.of(make_pairs(bank, seed, range(number * batch, (number + 1) * batch), crop, crop))
        number += 1
