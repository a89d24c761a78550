"""Frames of a scene at any time, and the exact flow between any two times."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from flowcli import geometry
from flowcli.train.motion import Time, origin, position, project, rigid, times_of
from flowcli.train.scenes import HARMONICS, Layer, Scene, changed
from flowcli.train.textures import TEXTURE_SIZE

REACH = 1 + 0.16 * sum(1 / (number + 1) for number in range(HARMONICS))
"""How far an outline may reach beyond its half axes, as a factor."""


def used(scene: Scene, device: torch.device) -> list[Layer]:
    """The layers that any scene of the batch has, on that device."""
    return [changed(layer, lambda part: part.to(device)) for layer in scene.layers if bool(layer.radius.any())]


def _shaped(layer: Layer, x: Tensor, y: Tensor) -> Tensor:
    """How much of the layer's shape (B, H, W) in [0, 1] is at points of time 0, with an edge about one pixel wide."""
    if bool(torch.isinf(layer.radius).all()):
        return torch.ones_like(x)
    # Unused layers have no area; a tiny radius would divide by zero.
    rx, ry = (layer.radius[:, i, None, None].clamp_min(1e-3) for i in range(2))
    cos, sin = torch.cos(layer.angle)[:, None, None], torch.sin(layer.angle)[:, None, None]
    dx, dy = x - layer.place[:, 0, None, None], y - layer.place[:, 1, None, None]
    px, py = (cos * dx + sin * dy) / rx, (cos * dy - sin * dx) / ry
    theta, distance = torch.atan2(py, px), torch.hypot(px, py)
    sector = 2 * math.pi / layer.sides[:, None, None]
    polygon = torch.cos(sector / 2) / torch.cos(torch.remainder(theta + layer.spin[:, None, None], sector) - sector / 2)
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


def _coverage(layer: Layer, bank: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Opacity (B, H, W) in [0, 1] of the layer at points of time 0."""
    shown = _shaped(layer, x, y) * layer.opacity[:, None, None]
    threshold, softness = layer.cutout[:, :, None, None].unbind(1)
    if bool(softness.any()):
        brightness = _sampled(layer, bank, layer.mask, x, y).mean(1)
        holes = (0.5 + (brightness - threshold) / softness.clamp_min(1e-3)).clamp(0, 1)
        shown = shown * holes.where(softness > 0, 1.0)
    return shown


def _window(layer: Layer, time: Time, height: int, width: int) -> tuple[slice, slice]:
    """Rows and columns outside which the layer shows nothing at `time`, in any scene of the batch."""
    if bool(torch.isinf(layer.radius).any()):
        return slice(0, height), slice(0, width)
    reach = REACH * layer.radius.amax(1)[:, None] + 1
    signs = torch.tensor([[-1.0, -1.0, 1.0, 1.0], [-1.0, 1.0, -1.0, 1.0]], device=reach.device)
    x, y = ((layer.place[:, i, None] + reach * signs[i])[:, None] for i in range(2))
    times = times_of(time, layer)
    x, y = project(rigid(layer, times), x, y)
    margin = (layer.wave[:, :, :2].norm(dim=2).sum(1) * times.abs())[:, None, None] + 1
    low = [int((side - margin).amin().clamp(0, most)) for side, most in ((y, height), (x, width))]
    high = [int((side + margin).amax().clamp(0, most).ceil()) for side, most in ((y, height), (x, width))]
    return slice(low[0], high[0]), slice(low[1], high[1])


def _sampled(layer: Layer, bank: Tensor, texture: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """(B, 3, H, W) of 0 to 1: the textures number (B,) at points of time 0."""
    height, width = x.shape[1:]
    m = layer.mapping[..., None, None]
    points = torch.stack([m[:, i, 0] * x + m[:, i, 1] * y + m[:, i, 2] for i in range(2)], 1)
    last = TEXTURE_SIZE - 1
    mirrored = last - (torch.remainder(points, 2 * last) - last).abs()
    texels, _ = geometry.backward_warp(bank[texture].float() / 255, mirrored - geometry.grid(height, width, x.device))
    return texels


def _textured(layer: Layer, bank: Tensor, x: Tensor, y: Tensor) -> Tensor:
    if not bool(layer.contrast.any()):
        return 0.5 * layer.tint[:, :, None, None].expand(-1, -1, *x.shape[1:])
    texels = _sampled(layer, bank, layer.texture, x, y)
    return (0.5 + layer.contrast[:, None, None, None] * (texels - 0.5)) * layer.tint[:, :, None, None]


def pixels(batch: int, height: int, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """x and y of all pixels, (B, H, W) each."""
    x, y = geometry.grid(height, width, device)
    return x.expand(batch, -1, -1), y.expand(batch, -1, -1)


def render(scene: Scene, bank: Tensor, height: int, width: int, times: Sequence[Time]) -> list[Tensor]:
    """Clean frames (B, 3, H, W) float32 RGB, about [0, 1], one for each time. `bank`: textures on the device to use."""
    layers = used(scene, bank.device)
    x, y = pixels(len(scene.seeds), height, width, bank.device)
    frames = []
    for time in times:
        image = torch.zeros(x.shape[0], 3, height, width, device=bank.device)
        for layer in layers:
            rows, columns = _window(layer, time, height, width)
            part = image[..., rows, columns]
            if part.numel():
                x0, y0 = origin(layer, x[:, rows, columns], y[:, rows, columns], time)
                part.lerp_(_textured(layer, bank, x0, y0), _coverage(layer, bank, x0, y0)[:, None])
        frames.append(image)
    return frames


def _span(touched: Tensor) -> slice:
    """From the first to the last column of `touched` (B, N) in which anything is set."""
    places = touched.any(0).nonzero()
    return slice(int(places[0]), int(places[-1]) + 1) if len(places) else slice(0)


def true_flow(scene: Scene, bank: Tensor, height: int, width: int, start: float, stop: float) -> tuple[Tensor, Tensor]:
    """Flow (B, 2, H, W) from `start` to `stop`, pixels, and where its target is hidden or outside, (B, H, W) bool."""
    layers = used(scene, bank.device)
    x, y = pixels(len(scene.seeds), height, width, bank.device)
    to_x, to_y = x.clone(), y.clone()
    top = torch.zeros_like(x, dtype=torch.long)
    for number, layer in enumerate(layers):
        part = (slice(None), *_window(layer, start, height, width))
        if x[part].numel():
            x0, y0 = origin(layer, x[part], y[part], start)
            visible = _coverage(layer, bank, x0, y0) > 0.5
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
            hidden = _coverage(layer, bank, *origin(layer, to_x[part], to_y[part], stop)) > 0.5
            occluded[part] |= hidden & (top[part] < number)
    return torch.stack([to_x - x, to_y - y], 1), occluded
