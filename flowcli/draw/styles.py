"""Ways to draw flow: each makes the picture of a pair at a scale, and the legend that explains it."""

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
"""Of the fastest colours over a frame."""
_SHORTEST = 0.45
"""Length of the arrows of slow points, as a part of the distance between points."""


@dataclass(frozen=True)
class Drawing:
    """How flow is drawn. A scale is the speed in pixels that is shown as the full one."""

    draw: Callable[[FlowPair, float], np.ndarray]
    """(H, `across` x W, 3) uint8 RGB of a pair."""
    explain: Callable[[np.ndarray, float], np.ndarray]
    """A copy of such a picture with a legend in its lower left corner."""
    across: int = 1
    """How many times as wide as a frame the picture is."""


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

    wheel: Middlebury colours. hsv: hue is direction, brightness speed. magnitude: speed alone, from black over violet
    and orange to pale yellow. overlay: the wheel's hues over the frame, denser where it is faster. arrows: over the
    frame, in the wheel's hues. side-by-side: the frame and, to its right, its wheel colours. trails: paths of points
    over the last frames, in the hues of their motion; for pairs seen from their earlier frame.
    darken: wheel colours above the scale. dim: how much darker and greyer the frame below other things is, 0 to 1.
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
    """(H, W): the speed as a part of the scale, 1 above it, 0 where it is unknown; (H, W) bool: where it is known."""
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
    """Direction (N, 2) of the flow (N, 2), of length 1, and speed (N, 1) as a part of the scale, 0 for noise."""
    length = np.hypot(*flow.T)[:, None]
    speed = length / scale
    # At rest is what is below 0.15 pixels, but not more than 15 % of the scale, and not less than 3 %.
    still = speed < np.clip(0.15 / scale, 0.03, 0.15)
    return flow / np.where(still, np.inf, length), np.where(still, 0, speed)


def _hues(direction: np.ndarray, speed: np.ndarray) -> np.ndarray:
    """(N, 3) uint8: wheel colours for points, neither pale nor dark; grey for those at rest."""
    shown = torch.from_numpy(direction * speed.clip(0.4, 0.75)).float()
    return np.where(speed > 0, flow_to_rgb(shown.T[:, None], 1.0)[0].numpy(), np.uint8(170))


def _spacing(image: np.ndarray) -> float:
    """Pixels between points of a grid that is neither crowded nor sparse: 20 of them along the side of a square."""
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
    """Height of the letters beside an arrow or a bar."""
    height: int = image.shape[0]
    return max(9, height // 30)


def _below(letters: int) -> int:
    """Pixels below their base line, where some letters reach to."""
    return max(4, letters // 3)


def _with_box(image: np.ndarray, width: int) -> np.ndarray:
    """A copy with a darker box for a line of text in the lower left corner."""
    image = image.copy()
    image[-2 * _letters(image) :, :width] //= 4
    return image


def _labelled(image: np.ndarray, scale: float, left: int, letters: int) -> np.ndarray:
    return draw_text(image, f"{scale:.3g} px", left, image.shape[0] - _below(letters), letters)
