"""Pictures of frames as tensors, and back."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def as_tensor(image: np.ndarray, device: torch.device) -> Tensor:
    """(1, 3, H, W) float32 in [0, 1], of a picture (H, W, 3) uint8 or uint16."""
    # Of 16 bits torch can do little but convert them.
    pixels = torch.tensor(image, device=device).float()
    return pixels.permute(2, 0, 1)[None] / np.iinfo(image.dtype).max


def as_image(picture: Tensor, dtype: np.dtype) -> np.ndarray:
    """(H, W, 3) of that dtype, uint8 or uint16, from (1, 3, H, W) in [0, 1]."""
    levels = (picture[0].clamp(0, 1) * np.iinfo(dtype).max).round()
    # int32: torch knows no shift or copy of 16 bits without a sign.
    return levels.permute(1, 2, 0).to(torch.int32).cpu().numpy().astype(dtype)
