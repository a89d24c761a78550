"""Styles of drawing flow: each draws a pair at a given scale, and a legend."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from flowcli.draw.color import flow_to_hsv, flow_to_rgb, legend, relative_speed
from flowcli.draw.tracks import Tracks, grid_points
from flowcli.pictures import dimmed, draw_arrows, draw_text, draw_trails, heat
from flowcli.types import FlowField, FlowPair, Style

_Paint = Callable[[Tensor, float, Tensor | None], Tensor]

_OPACITY = 0.8
"""Opacity of the fastest colours of an overlay."""
_SHORTEST = 0.45
"""Length of the shortest arrows, as a fraction of the distance between points."""


@dataclass(frozen=True)
class Drawing:
    """A way to draw flow. A scale is the speed in pixels that gets full colour or length."""

    draw: Callable[[FlowPair, float], np.ndarray]
    """Draws a pair: (H, `across` x W, 3) uint8 RGB."""
    explain: Callable[[np.ndarray, float], np.ndarray]
    """Returns a copy of a picture with a legend in the lower left corner."""
    across: int = 1
    """Width of the picture in frames."""


_DRAWINGS: dict[Style, Callable[[_Paint, float], Drawing]] = {
    "wheel": lambda wheel, dim: Drawing(partial(_painted, wheel), _explain_colours),
    "hsv": lambda wheel, dim: Drawing(partial(_painted, flow_to_hsv), partial(_explain_colours, paint=flow_to_hsv)),
    "arrows": lambda wheel, dim: Drawing(partial(_arrows, dim=dim), _explain_arrows),
    "magnitude": lambda wheel, dim: Drawing(_magnitude, _explain_magnitude),
    "overlay": lambda wheel, dim: Drawing(partial(_overlay, dim=dim), _explain_colours),
    "side-by-side": lambda wheel, dim: Drawing(partial(_beside, wheel), _explain_beside, across=2),
    "trails": lambda wheel, dim: Drawing(_Trails(dim), _explain_colours),
}
"""Each style's Drawing, of what paints wheel colours and of `dim`."""


def open_drawing(style: Style, *, darken: bool, dim: float) -> Drawing:
    """A Drawing for the pairs of one video, in order.

    wheel: Middlebury colours. hsv: hue is direction, brightness is speed. magnitude: speed only, from black over violet
    and orange to pale yellow. overlay: the wheel's hues over the frame, more opaque for faster motion. arrows: arrows
    in the wheel's hues over the frame. side-by-side: the frame on the left, its wheel colours on the right. trails:
    paths of points over the last frames in the hues of their motion, for pairs forward in time.
    darken: darken wheel colours above the scale. dim: how much the frame below a drawing is darkened and desaturated,
    0 to 1.
    """
    return _DRAWINGS[style](partial(flow_to_rgb, darken=darken), dim)


def _painted(paint: _Paint, pair: FlowPair, scale: float) -> np.ndarray:
    return paint(pair.forward.uv, scale, pair.forward.valid).cpu().numpy()


def _beside(paint: _Paint, pair: FlowPair, scale: float) -> np.ndarray:
    return np.concatenate((pair.first.image, _painted(paint, pair, scale)), axis=1)


def _magnitude(pair: FlowPair, scale: float) -> np.ndarray:
    return heat(_strength(pair.forward, scale)[0].cpu().numpy())


def _overlay(pair: FlowPair, scale: float, dim: float) -> np.ndarray:
    speed, known = _strength(pair.forward, scale)
    # A wheel colour is white with so much of the hue as the speed is of the scale. White stands for the frame here.
    on_white = flow_to_rgb(pair.forward.uv.where(known, 0.0), scale, darken=False)
    frame = torch.from_numpy(dimmed(pair.first.image, dim)).to(speed.device)
    mixed = frame.float().addcmul_(255.0 - frame, speed[..., None], value=_OPACITY)
    mixed.sub_(255.0 - on_white, alpha=_OPACITY)
    return mixed.round_().clamp_(0, 255).to(torch.uint8).cpu().numpy()


def _strength(field: FlowField, scale: float) -> tuple[Tensor, Tensor]:
    """(H, W) speed as a fraction of the scale, at most 1, 0 where unknown; and (H, W) bool, where it is known."""
    speed, known = relative_speed(field.uv, scale, field.valid)
    return speed.clamp_(max=1).where(known, 0.0), known


def _arrows(pair: FlowPair, scale: float, dim: float) -> np.ndarray:
    image = dimmed(pair.first.image, dim)
    height, width = image.shape[:2]
    points, _ = grid_points(height, width, _spacing(image))
    flow = pair.forward.known[:, points[:, 1], points[:, 0]].cpu().numpy().T
    known = np.isfinite(flow).all(axis=1)
    return _with_arrows(image, points[known], flow[known], scale)


def _with_arrows(image: np.ndarray, tails: np.ndarray, flow: np.ndarray, scale: float) -> np.ndarray:
    spacing = _spacing(image)
    direction, speed = _split(flow, scale)
    moves = np.where(speed > 0, speed.clip(_SHORTEST, 1) * spacing, 0) * direction
    return draw_arrows(image, tails, moves, _hues(direction, speed), spacing / 8)


class _Trails:
    def __init__(self, dim: float) -> None:
        self._dim = dim
        self._tracks: Tracks | None = None

    def __call__(self, pair: FlowPair, scale: float) -> np.ndarray:
        image = dimmed(pair.first.image, self._dim)
        self._tracks = self._tracks or Tracks(_spacing(image))
        paths = self._tracks.follow(pair)
        moves = np.nan_to_num(np.diff(paths, axis=0))
        colours = _hues(*_split(moves.reshape(-1, 2), scale)).reshape(*moves.shape[:2], 3)
        return draw_trails(image, paths, colours, _spacing(image) / 14)


def _split(flow: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors (N, 2) of the flow (N, 2), and speed (N, 1) as a fraction of the scale, 0 for noise."""
    length = np.hypot(*flow.T)[:, None]
    speed = length / scale
    # Points slower than 0.15 pixels are at rest, but at most 15 % and at least 3 % of the scale.
    still = speed < np.clip(0.15 / scale, 0.03, 0.15)
    return flow / np.where(still, np.inf, length), np.where(still, 0, speed)


def _hues(direction: np.ndarray, speed: np.ndarray) -> np.ndarray:
    """(N, 3) uint8: wheel colours for points, neither pale nor dark, and grey for points at rest."""
    shown = torch.from_numpy(direction * speed.clip(0.4, 0.75)).float()
    return np.where(speed > 0, flow_to_rgb(shown.T[:, None], 1.0)[0].numpy(), np.uint8(170))


def _spacing(image: np.ndarray) -> float:
    """Pixels between the points of a grid: 20 points along the side of a square picture."""
    return max(16.0, math.sqrt(image.shape[0] * image.shape[1]) / 20)


def _explain_colours(
    image: np.ndarray, scale: float, paint: Callable[[Tensor, float], Tensor] = flow_to_rgb
) -> np.ndarray:
    size = min(image.shape[0], image.shape[1], max(32, image.shape[0] // 6))
    disc = legend(size, paint).numpy()
    image = image.copy()
    corner = image[-size:, :size]
    corner[disc[..., 3] > 0] = disc[..., :3][disc[..., 3] > 0]
    return _labelled(image, scale, size + 4, max(9, size // 5))


def _explain_beside(image: np.ndarray, scale: float) -> np.ndarray:
    half = image.shape[1] // 2
    return np.concatenate((image[:, :half], _explain_colours(image[:, half:], scale)), axis=1)


def _explain_arrows(image: np.ndarray, scale: float) -> np.ndarray:
    spacing, letters = round(_spacing(image)), _letters(image)
    image = _with_box(image, spacing + 6 * letters)
    tail = np.array([(4.0, image.shape[0] - _below(letters) - letters / 2)])
    image = _with_arrows(image, tail, np.array([(scale, 0.0)]), scale)
    return _labelled(image, scale, spacing + 8, letters)


def _explain_magnitude(image: np.ndarray, scale: float) -> np.ndarray:
    letters, length = _letters(image), max(32, image.shape[1] // 5)
    image = _with_box(image, length + 7 * letters)
    bottom = image.shape[0] - _below(letters)
    image = draw_text(image, "0", 4, bottom, letters)
    bar = image[max(0, bottom - letters) : bottom, letters + 8 : letters + 8 + length]
    bar[:] = heat(np.linspace(0, 1, length)[None])[:, : bar.shape[1]]
    return _labelled(image, scale, letters + length + 12, letters)


def _letters(image: np.ndarray) -> int:
    """Height of letters beside an arrow or a bar, pixels."""
    height: int = image.shape[0]
    return max(9, height // 30)


def _below(letters: int) -> int:
    """Space below the base line for descenders, pixels."""
    return max(4, letters // 3)


def _with_box(image: np.ndarray, width: int) -> np.ndarray:
    """A copy with a dark box for a line of text in the lower left corner."""
    image = image.copy()
    image[-2 * _letters(image) :, :width] //= 4
    return image


def _labelled(image: np.ndarray, scale: float, left: int, letters: int) -> np.ndarray:
    return draw_text(image, f"{scale:.3g} px", left, image.shape[0] - _below(letters), letters)
