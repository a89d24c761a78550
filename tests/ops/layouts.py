"""Random tensors in every memory layout that operators must accept."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

NAN = float("nan")


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def sliced(tensor: Tensor) -> Tensor:
    count, channels, height, width = tensor.shape
    view = tensor.new_full((count, channels + 2, height + 1, width + 3), NAN)[:, 1:-1, :-1, 2:-1]
    return view.copy_(tensor)


def shifted(tensor: Tensor) -> Tensor:
    """Channels-last, starting at an address that is not aligned to a vector."""
    count, channels, height, width = tensor.shape
    view = tensor.new_zeros(tensor.numel() + 1)[1:].view(count, height, width, channels).permute(0, 3, 1, 2)
    return view.copy_(tensor)


LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "contiguous": Tensor.contiguous,
    "channels_last": lambda tensor: tensor.contiguous(memory_format=torch.channels_last),
    "transposed": lambda tensor: tensor.transpose(2, 3).contiguous().transpose(2, 3),
    "sliced": sliced,
    "shifted": shifted,
}
