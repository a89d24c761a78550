"""Styles of drawing flow: each draws a pair at a given scale, and the symbol of its legend."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from flowcli.draw.color import flow_to_hsv, flow_to_rgb, legend, relative_speed
from flowcli.draw.floor import faded, without_slow
from flowcli.draw.legend import GROUND, Symbol, letters_of, side_of
from flowcli.draw.tracks import Tracks, grid_points
from flowcli.pictures import dimmed, draw_arrows, draw_text, draw_trails, heat
from flowcli.types import FlowField, FlowPair, Style

_Paint = Callable[[Tensor, float, Tensor | None], Tensor]

_OPACITY = 0.8
"""Opacity of the fastest colours of an overlay."""
_SHORTEST = 0.2
"""Of the scale: what is slower is a dot, as an arrow would not show where it points."""


@dataclass(frozen=True)
class Drawing:
    """A way to draw flow. A scale is the speed in pixels that gets full colour or length."""

    draw: Callable[[FlowPair, float], np.ndarray]
    """Draws a pair: (H, W, 3) uint8 RGB."""
    symbol: Symbol
    """For the legend."""
    fade: Callable[[FlowField, float], FlowField] = faded
    """What becomes of flow that is slower than a floor, in pixels, before it is drawn."""


_DRAWINGS: dict[Style, Callable[[_Paint, float], Drawing]] = {
    "wheel": lambda wheel, dim: Drawing(partial(_painted, wheel), partial(_disc, flow_to_rgb)),
    "hsv": lambda wheel, dim: Drawing(partial(_painted, flow_to_hsv), partial(_disc, flow_to_hsv)),
    "arrows": lambda wheel, dim: Drawing(partial(_arrows, dim=dim), _arrow, without_slow),
    "magnitude": lambda wheel, dim: Drawing(_magnitude, _bar),
    "overlay": lambda wheel, dim: Drawing(partial(_overlay, dim=dim), partial(_disc, flow_to_rgb)),
    "trails": lambda wheel, dim: Drawing(_Trails(dim), partial(_disc, flow_to_rgb)),
}
"""Each style's Drawing, of what paints wheel colours and of `dim`."""


def open_drawing(style: Style, *, darken: bool, dim: float) -> Drawing:
    """A Drawing for the pairs of one video, in order. Raises KeyError for "side-by-side", which is not one drawing.

    wheel: Middlebury colours. hsv: hue is direction, brightness is speed. magnitude: speed only, from black over violet
    and orange to pale yellow. overlay: the wheel's hues over the frame, more opaque for faster motion. arrows: arrows
    in the wheel's hues over the frame, as long as the flow is fast, and dots for the slowest. trails: paths of points
    over the last frames in the hues of their motion, for pairs forward in time.
    darken: darken wheel colours above the scale. dim: how much the frame below a drawing is darkened and desaturated,
    0 to 1.
    """
    return _DRAWINGS[style](partial(flow_to_rgb, darken=darken), dim)


def _painted(paint: _Paint, pair: FlowPair, scale: float) -> np.ndarray:
    return paint(pair.forward.uv, scale, pair.forward.valid).cpu().numpy()


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
    spacing = _spacing_of(image)
    points, _ = grid_points(image.shape[0], image.shape[1], spacing)
    flow = pair.forward.known[:, points[:, 1], points[:, 0]].cpu().numpy().T
    moves = np.isfinite(flow).all(axis=1) & flow.any(axis=1)
    return _with_arrows(image, points[moves], flow[moves], scale, spacing)


def _with_arrows(image: np.ndarray, tails: np.ndarray, flow: np.ndarray, scale: float, spacing: float) -> np.ndarray:
    """A copy of the picture with arrows as long as `flow` is fast, and `spacing` at the scale and above."""
    speed = np.hypot(*flow.T)[:, None]
    direction, speed = flow / speed, (speed / scale).clip(max=1)
    moves = np.where(speed < _SHORTEST, 0, speed * spacing) * direction
    return draw_arrows(image, tails, moves, _hues(direction, speed), spacing / 8)


class _Trails:
    def __init__(self, dim: float) -> None:
        self._dim = dim
        self._tracks: Tracks | None = None

    def __call__(self, pair: FlowPair, scale: float) -> np.ndarray:
        image = dimmed(pair.first.image, self._dim)
        spacing = _spacing_of(image)
        self._tracks = self._tracks or Tracks(spacing)
        paths = self._tracks.follow(pair)
        moves = np.nan_to_num(np.diff(paths, axis=0))
        colours = _hues(*_split(moves.reshape(-1, 2), scale)).reshape(*moves.shape[:2], 3)
        return draw_trails(image, paths, colours, spacing / 14)


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


def _spacing_of(image: np.ndarray) -> float:
    return _spacing(side_of(*image.shape[:2]))


def _spacing(side: float) -> float:
    """Pixels between the points of a grid: 20 points along the side of a square picture."""
    return max(16.0, side / 20)


def _disc(paint: Callable[[Tensor, float], Tensor], side: float) -> np.ndarray:
    size = max(32, round(side / 8))
    disc = legend(size, paint).numpy()
    return np.where(disc[..., 3:] > 0, disc[..., :3], np.uint8(GROUND))


def _arrow(side: float) -> np.ndarray:
    spacing = round(_spacing(side))
    ground = np.full((2 * letters_of(side), spacing + 6, 3), GROUND, np.uint8)
    return _with_arrows(ground, np.array([(3.0, letters_of(side))]), np.array([(1.0, 0.0)]), 1.0, spacing)


def _bar(side: float) -> np.ndarray:
    letters, length = letters_of(side), max(48, round(side / 5))
    zero = draw_text(np.full((letters + 4, letters + 4, 3), GROUND, np.uint8), "0", 1, letters + 2, letters)
    bar = heat(np.broadcast_to(np.linspace(0, 1, length), (letters, length)))
    return np.concatenate((zero, np.pad(bar, ((2, 2), (0, 0), (0, 0)), constant_values=GROUND)), axis=1)
