"""Frames of a scene at any time, and the exact flow between them: what the default weights are trained on.

`position` says where a point of a layer is at time t, `origin` is the inverse; frames, flow between any two times and
occlusion all follow from these two.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from torch import Tensor

from flowcli import geometry
from flowcli.train.scenes import HARMONICS, WAVES, Layer, Part, Scene, draw_scene
from flowcli.train.textures import TEXTURE_SIZE

BLUR_REACH = 4
EXPOSURES = 5
"""Pictures averaged for one with motion blur."""
REACH = 1 + 0.16 * sum(1 / (number + 1) for number in range(HARMONICS))
"""How far an outline may reach beyond its half axes, as a factor."""
BLOCK = 8
"""Side of a codec's blocks, pixels."""

Time = Tensor | float
"""One for all scenes of a batch, or (B,); 0.0 is what scenes are described at."""


@dataclass(frozen=True)
class Pairs:
    """A batch of training pairs: images (B, 3, H, W) uint8 RGB, flow (B, 2, H, W) float32, occluded (B, H, W) bool."""

    first: Tensor
    second: Tensor
    flow: Tensor
    occluded: Tensor


def _moved(value: Part, device: torch.device) -> Part:
    return type(value)(**{field.name: getattr(value, field.name).to(device) for field in fields(value)})


def _used(scene: Scene, device: torch.device) -> list[Layer]:
    return [_moved(layer, device) for layer in scene.layers if bool(layer.radius.any())]


def _waves(layer: Layer, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    dx, dy = torch.zeros_like(x), torch.zeros_like(y)
    for number in range(WAVES):
        mx, my, kx, ky, phase = (layer.wave[:, number, i, None, None] for i in range(5))
        swing = torch.sin(kx * x + ky * y + phase)
        dx, dy = dx + mx * swing, dy + my * swing
    return dx, dy


def _rigid(layer: Layer, time: Tensor) -> Tensor:
    """Homographies (B, 3, 3): where the layer's points are at `time` (B,), without the waves."""
    one = torch.ones_like(layer.turn)
    zero = torch.zeros_like(one)
    cos, sin = torch.cos(layer.turn * time), torch.sin(layer.turn * time)
    scale = torch.exp(layer.zoom * time)
    cx, cy = layer.center.unbind(1)
    tx, ty = (layer.shift * time[:, None] + layer.center).unbind(1)
    px, py = (layer.tilt * time[:, None]).unbind(1)
    longer, shear = (layer.stretch * time[:, None]).unbind(1)
    back = torch.stack([one, zero, -cx, zero, one, -cy, zero, zero, one], 1).view(-1, 3, 3)
    turn = torch.stack([scale * cos, -scale * sin, zero, scale * sin, scale * cos, zero, px, py, one], 1).view(-1, 3, 3)
    stretch = torch.stack([one + longer, shear, zero, shear, one - longer, zero, zero, zero, one], 1).view(-1, 3, 3)
    forth = torch.stack([one, zero, tx, zero, one, ty, zero, zero, one], 1).view(-1, 3, 3)
    return forth @ turn @ stretch @ back


def _project(matrix: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    (a, b, c), (d, e, f), (g, h, i) = ([matrix[:, row, col, None, None] for col in range(3)] for row in range(3))
    depth = (g * x + h * y + i).clamp_min(0.1)
    return (a * x + b * y + c) / depth, (d * x + e * y + f) / depth


def _times(time: Time, layer: Layer) -> Tensor:
    return torch.as_tensor(time, dtype=torch.float32, device=layer.turn.device).expand_as(layer.turn)


def position(layer: Layer, x: Tensor, y: Tensor, time: Time) -> tuple[Tensor, Tensor]:
    """Where the layer's points (x, y) of time 0 are at `time`; all (B, H, W), pixels."""
    if isinstance(time, float) and time == 0:
        return x, y
    times = _times(time, layer)
    dx, dy = _waves(layer, x, y)
    x, y = _project(_rigid(layer, times), x, y)
    return x + times[:, None, None] * dx, y + times[:, None, None] * dy


def origin(layer: Layer, x: Tensor, y: Tensor, time: Time) -> tuple[Tensor, Tensor]:
    """Inverse of `position`, by fixed-point iteration (the waves' gradient is below one)."""
    if isinstance(time, float) and time == 0:
        return x, y
    times = _times(time, layer)
    inverse = torch.linalg.inv(_rigid(layer, times))
    x0, y0 = _project(inverse, x, y)
    if bool(layer.wave.any()):
        times = times[:, None, None]
        for _ in range(6):
            dx, dy = _waves(layer, x0, y0)
            x0, y0 = _project(inverse, x - times * dx, y - times * dy)
    return x0, y0


def _coverage(layer: Layer, x: Tensor, y: Tensor) -> Tensor:
    """Opacity (B, H, W) in [0, 1] of the layer at points of time 0, with an edge about one pixel wide."""
    if bool(torch.isinf(layer.radius).all()):
        return torch.ones_like(x)
    # Unused layers have no area; a tiny radius would divide by zero.
    rx, ry = (layer.radius[:, i, None, None].clamp_min(1e-3) for i in range(2))
    cos, sin = torch.cos(layer.angle)[:, None, None], torch.sin(layer.angle)[:, None, None]
    dx, dy = x - layer.center[:, 0, None, None], y - layer.center[:, 1, None, None]
    px, py = (cos * dx + sin * dy) / rx, (cos * dy - sin * dx) / ry
    theta, distance = torch.atan2(py, px), torch.hypot(px, py)
    sector = 2 * math.pi / layer.sides[:, None, None]
    polygon = torch.cos(sector / 2) / torch.cos(torch.remainder(theta, sector) - sector / 2)
    smooth = layer.smooth[:, None, None]
    edge = smooth + (1 - smooth) * polygon
    wobble = torch.ones_like(theta)
    for number in range(HARMONICS):
        amplitude, phase = (layer.outline[:, number, i, None, None] for i in range(2))
        wobble = wobble + amplitude / (number + 1) * torch.cos((number + 2) * theta + phase)
    edge = edge * wobble
    pixels = torch.minimum(rx, ry)
    inside = (0.5 + (edge - distance) * pixels).clamp(0, 1)
    hole = layer.hole[:, None, None]
    inside = inside * (0.5 + (distance - hole * edge) * pixels).clamp(0, 1).where(hole > 0, 1.0)
    return inside * (layer.radius.amin(1) > 0)[:, None, None]


def _window(layer: Layer, time: Time, height: int, width: int) -> tuple[slice, slice]:
    """Rows and columns outside which the layer shows nothing at `time`, in any scene of the batch."""
    if bool(torch.isinf(layer.radius).any()):
        return slice(0, height), slice(0, width)
    reach = REACH * layer.radius.amax(1)[:, None] + 1
    signs = torch.tensor([[-1.0, -1.0, 1.0, 1.0], [-1.0, 1.0, -1.0, 1.0]], device=reach.device)
    x, y = ((layer.center[:, i, None] + reach * signs[i])[:, None] for i in range(2))
    times = _times(time, layer)
    x, y = _project(_rigid(layer, times), x, y)
    margin = (layer.wave[:, :, :2].norm(dim=2).sum(1) * times.abs())[:, None, None] + 1
    low = [int((side - margin).amin().clamp(0, most)) for side, most in ((y, height), (x, width))]
    high = [int((side + margin).amax().clamp(0, most).ceil()) for side, most in ((y, height), (x, width))]
    return slice(low[0], high[0]), slice(low[1], high[1])


def _textured(layer: Layer, bank: Tensor, x: Tensor, y: Tensor) -> Tensor:
    height, width = x.shape[1:]
    m = layer.mapping[..., None, None]
    points = torch.stack([m[:, i, 0] * x + m[:, i, 1] * y + m[:, i, 2] for i in range(2)], 1)
    last = TEXTURE_SIZE - 1
    mirrored = last - (torch.remainder(points, 2 * last) - last).abs()
    textures = bank[layer.texture].float() / 255
    texels, _ = geometry.backward_warp(textures, mirrored - geometry.grid(height, width, x.device))
    return (0.5 + layer.contrast[:, None, None, None] * (texels - 0.5)) * layer.tint[:, :, None, None]


def _pixels(batch: int, height: int, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    x, y = geometry.grid(height, width, device)
    return x.expand(batch, -1, -1), y.expand(batch, -1, -1)


def render(scene: Scene, bank: Tensor, height: int, width: int, times: Sequence[Time]) -> list[Tensor]:
    """Clean frames (B, 3, H, W) float32 RGB, about [0, 1], one for each time. `bank`: textures on the device to use."""
    layers = _used(scene, bank.device)
    x, y = _pixels(len(scene.seeds), height, width, bank.device)
    frames = []
    for time in times:
        image = torch.zeros(x.shape[0], 3, height, width, device=bank.device)
        for layer in layers:
            rows, columns = _window(layer, time, height, width)
            part = image[..., rows, columns]
            if part.numel():
                x0, y0 = origin(layer, x[:, rows, columns], y[:, rows, columns], time)
                part.lerp_(_textured(layer, bank, x0, y0), _coverage(layer, x0, y0)[:, None])
        frames.append(image)
    return frames


def _span(touched: Tensor) -> slice:
    """From the first to the last column of `touched` (B, N) in which anything is set."""
    places = touched.any(0).nonzero()
    return slice(int(places[0]), int(places[-1]) + 1) if len(places) else slice(0)


def true_flow(
    scene: Scene, device: torch.device, height: int, width: int, start: float, stop: float
) -> tuple[Tensor, Tensor]:
    """Flow (B, 2, H, W) from `start` to `stop`, pixels, and where its target is hidden or outside, (B, H, W) bool."""
    layers = _used(scene, device)
    x, y = _pixels(len(scene.seeds), height, width, device)
    to_x, to_y = x.clone(), y.clone()
    top = torch.zeros_like(x, dtype=torch.long)
    for number, layer in enumerate(layers):
        part = (slice(None), *_window(layer, start, height, width))
        if x[part].numel():
            x0, y0 = origin(layer, x[part], y[part], start)
            visible = _coverage(layer, x0, y0) > 0.5
            moved_x, moved_y = position(layer, x0, y0, stop)
            to_x[part] = torch.where(visible, moved_x, to_x[part])
            to_y[part] = torch.where(visible, moved_y, to_y[part])
            top[part] = torch.where(visible, number, top[part])
    occluded = (to_x < 0) | (to_x > width - 1) | (to_y < 0) | (to_y > height - 1)
    for number, layer in enumerate(layers[1:], 1):
        rows, columns = _window(layer, stop, height, width)
        near = (to_y >= rows.start) & (to_y < rows.stop) & (to_x >= columns.start) & (to_x < columns.stop)
        part = (slice(None), _span(near.any(2)), _span(near.any(1)))
        if x[part].numel():
            hidden = _coverage(layer, *origin(layer, to_x[part], to_y[part], stop)) > 0.5
            occluded[part] |= hidden & (top[part] < number)
    return torch.stack([to_x - x, to_y - y], 1), occluded


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


def _exposed(scene: Scene, bank: Tensor, height: int, width: int, time: float) -> Tensor:
    """The frame (B, 3, H, W) at `time`, averaged over as long as each scene's shutter is open."""
    shutter = scene.look.shutter.to(bank.device)
    if not bool(shutter.any()):
        return render(scene, bank, height, width, (time,))[0]
    moments = [time + shutter * share for share in torch.linspace(-0.5, 0.5, EXPOSURES).tolist()]
    return torch.stack(render(scene, bank, height, width, moments)).mean(0)


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


def _recorded(scene: Scene, frames: Sequence[Tensor]) -> list[Tensor]:
    """Frames (B, 3, H, W) uint8 as a camera records them: haze, shadows, blur, exposure, colour, noise, a codec."""
    device = frames[0].device
    look = _moved(scene.look, device)
    batch, _, height, width = frames[0].shape
    x, y = _pixels(batch, height, width, device)
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


def make_pairs(bank: Tensor, seed: int, indices: Iterable[int], height: int, width: int) -> Pairs:
    """Training pairs number `indices` of the endless set `seed`, rendered on the bank's device."""
    scene = draw_scene(seed, indices, height, width, bank.shape[0])
    first, second = _recorded(scene, [_exposed(scene, bank, height, width, time) for time in (0.0, 1.0)])
    flow, occluded = true_flow(scene, bank.device, height, width, 0.0, 1.0)
    return Pairs(first, second, flow, occluded)
