"""Frames as a camera and a codec leave them: exposure, shadows, haze, blur, colour, noise, blocks."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from flowcli.train.motion import position
from flowcli.train.rendering import pixels, render
from flowcli.train.scenes import Scene, changed

BLUR_REACH = 4
EXPOSURES, MOST_EXPOSURES = 5, 16
"""Pictures averaged for one with motion blur, at least and at most."""
SPACING = 4.0
"""Between them as long as there are not more, pixels."""
BLOCK = 8
"""Side of a codec's blocks, pixels."""


def exposed(scene: Scene, bank: Tensor, height: int, width: int, times: Sequence[float]) -> list[Tensor]:
    """Frames (B, 3, H, W) uint8, as `recorded` gives them, for each time; the shutter is open about it."""
    return recorded(scene, [_exposed(scene, bank, height, width, time) for time in times])


def _moments(scene: Scene, height: int, width: int) -> Tensor:
    """How many pictures (B,) are averaged for a frame of each scene: more where motion is longer."""
    corners = torch.tensor([[0.0, width, 0.0, width], [0.0, 0.0, height, height]])
    longest = torch.zeros(len(scene.seeds))
    for layer in scene.layers:
        if bool(layer.radius.any()):
            x, y = corners[:, None, None].expand(-1, len(longest), 1, 4)
            infinite = torch.isinf(layer.radius[:, :1, None])
            x, y = (torch.where(infinite, at, layer.place[:, i, None, None]) for i, at in enumerate((x, y)))
            to_x, to_y = position(layer, x, y, 1.0)
            longest = torch.maximum(longest, torch.hypot(to_x - x, to_y - y).amax((1, 2)))
    return (scene.look.shutter * longest / SPACING).ceil().clamp(EXPOSURES, MOST_EXPOSURES)


def _exposed(scene: Scene, bank: Tensor, height: int, width: int, time: float) -> Tensor:
    """The frame (B, 3, H, W) at `time`, averaged over as long as each scene's shutter is open."""
    shutter = scene.look.shutter
    if not bool(shutter.any()):
        return render(scene, bank, height, width, (time,))[0]
    counts = _moments(scene, height, width).where(shutter > 0, 1.0)
    total = torch.zeros(len(scene.seeds), 3, height, width, device=bank.device)
    for number in range(int(counts.max())):
        shares = (number / (counts - 1).clamp_min(1) - 0.5).where(counts > 1, 0.0)
        weights = (number < counts).float() / counts
        (image,) = render(scene, bank, height, width, ((time + shutter * shares).to(bank.device),))
        total += weights.to(bank.device)[:, None, None, None] * image
    return total


def _blurred(image: Tensor, deviation: Tensor) -> Tensor:
    offsets = torch.arange(-BLUR_REACH, BLUR_REACH + 1, device=image.device)
    out = []
    for picture, sigma in zip(image, deviation.tolist(), strict=True):
        if sigma > 0:
            kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
            kernel = (kernel / kernel.sum())[None, None, None]
            padded = F.pad(picture[:, None], (BLUR_REACH,) * 4, mode="replicate")
            picture = F.conv2d(F.conv2d(padded, kernel), kernel.mT)[:, 0]
        out.append(picture)
    return torch.stack(out)


def _cosines(device: torch.device) -> Tensor:
    """The orthonormal cosine transform of BLOCK numbers, (BLOCK, BLOCK)."""
    place = torch.arange(BLOCK, device=device, dtype=torch.float32)
    rows = torch.cos(math.pi / BLOCK * (place + 0.5) * place[:, None]) * math.sqrt(2 / BLOCK)
    rows[0] /= math.sqrt(2)
    return rows


def _coded(image: Tensor, quantizer: Tensor) -> Tensor:
    """`image` (B, 3, H, W) as a codec gives it back: blocks of cosines in steps, coarser for high frequencies."""
    if not bool(quantizer.any()):
        return image
    height, width = image.shape[-2:]
    padded = F.pad(image, (0, -width % BLOCK, 0, -height % BLOCK), mode="replicate")
    grey = padded.mean(1, keepdim=True)
    planes = torch.cat([grey, padded - grey], 1)
    cosines = _cosines(image.device)
    blocks = planes.unfold(2, BLOCK, BLOCK).unfold(3, BLOCK, BLOCK)
    place = torch.arange(BLOCK, device=image.device, dtype=torch.float32)
    coarser = 1 + 0.5 * (place + place[:, None])
    # Colour is coded more coarsely than brightness.
    share = torch.tensor((1.0, 2.0, 2.0, 2.0), device=image.device)
    steps = quantizer.clamp_min(1e-6)[:, None, None, None, None, None] * share[:, None, None, None, None] * coarser
    levels = torch.round(cosines @ blocks @ cosines.T / steps)
    planes = (cosines.T @ (levels * steps) @ cosines).permute(0, 1, 2, 4, 3, 5).reshape(planes.shape)
    coded = (planes[:, :1] + planes[:, 1:])[..., :height, :width]
    return torch.where((quantizer > 0)[:, None, None, None], coded, image)


def recorded(scene: Scene, frames: Sequence[Tensor]) -> list[Tensor]:
    """Frames (B, 3, H, W) uint8 as a camera records them: haze, shadows, blur, exposure, colour, noise, a codec."""
    device = frames[0].device
    look = changed(scene.look, lambda part: part.to(device))
    batch, _, height, width = frames[0].shape
    x, y = pixels(batch, height, width, device)
    out = []
    for number, image in enumerate(frames):
        strength, kx, ky, phase, sharpness = (look.shadow[:, number, i, None, None] for i in range(5))
        shade = 1 - strength * torch.sigmoid(sharpness * torch.sin(kx * x + ky * y + phase))
        image = image * shade[:, None]
        haze = look.haze[:, :1, None, None]
        image = image * (1 - haze) + haze * look.haze[:, 1:, None, None]
        image = _blurred(image, look.blur[:, number])
        image = image * look.gain[:, number, :, None, None] + look.offset[:, number, :, None, None]
        image = image.clamp(0, 1) ** look.gamma[:, number, None, None, None]
        grain = torch.stack(
            [
                torch.randn(
                    image.shape[1:], generator=torch.Generator(device).manual_seed(seed % 2**62 + number), device=device
                )
                for seed in scene.seeds
            ]
        )
        image = image + grain * look.noise[:, number, None, None, None]
        image = _coded(image, look.quantizer)
        out.append((image.clamp(0, 1) * 255).round().to(torch.uint8))
    return out
