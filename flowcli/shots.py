"""Cuts and duplicate frames, found by how much each frame of a video differs from those before it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, groupby

import numpy as np

from flowcli.types import Frame

CUT = 0.5
"""Scores above this are cuts."""
DUPLICATE = 0.9
"""Scores above this are duplicate frames."""
HELD = 3
"""Number of duplicates in a row that may come from how the video was made: animation holds drawings for up to four
frames, and film at 60 frames per second shows each two or three times. After more the scene is still."""
REACH = 3
"""Number of frames before and after a cut that are compared; a change that ends sooner is a flash."""

_SAMPLES = (288, 512)
"""Rows and columns of the grid of samples that is compared, whatever the size of the picture."""
_BLOCK = 16
"""Side of the blocks of samples; a duplicate repeats every block."""
_REGIONS = 4
"""Regions per side in which colours are compared for cuts, on every fourth sample."""
_UNIT = 0.03
"""Excess difference (0 to 1) above which a frame is a cut. 109 of 115 cuts between clips, shots and moving photos have
more, and none of 5802 other frames with fast motion, dissolves, fades and flashes. It was chosen on these, when the
motion on both sides of a frame counted together; since that of each side counts too, pans from rest are no cuts."""
_USUAL = 12
"""Number of earlier frames that show how much usually changes."""
_NOISE = 2.0
"""Levels (of 255) by which a block may change between frames of a still scene."""


@dataclass(frozen=True)
class Change:
    """How a frame differs from the one before it; scores are None for the first frame.

    Two frames alone have no score of a cut either.
    """

    frame: Frame
    duplicate: float | None = None
    """1 if nothing changes, 0 if as much as usual does."""
    cut_score: float | None = None
    """0 to 1: how much more the frames from here on differ from those before than neighbours around here do."""

    @property
    def cut(self) -> bool:
        """Whether a shot begins here."""
        return (self.cut_score or 0) > CUT

    @property
    def repeats(self) -> bool:
        """Whether the frame repeats the one before it in its shot; of two frames alone, neither does."""
        begins = self.frame.cut or self.cut
        return not begins and self.cut_score is not None and (self.duplicate or 0) > DUPLICATE

    @property
    def marked(self) -> Frame:
        """The frame, marked if a shot begins here, or if it repeats the one before it."""
        if self.cut or self.repeats:
            return replace(self.frame, cut=self.frame.cut or self.cut, repeats=self.repeats)
        return self.frame


def compare(frames: Iterable[Frame]) -> Iterator[Change]:
    """Each frame with its scores, REACH - 1 frames late: flashes and dissolves are no cuts.

    At a cut, even the most similar of the REACH frames before and the REACH frames after differ far more than
    neighbours do; of two frames alone that cannot be said. Local histograms are compared (after Nagasaka and Tanaka
    1991) by the earth mover's distance, which is the mean difference of the sorted values.
    """
    waiting: deque[Frame] = deque()
    window: deque[_Look | None] = deque([None] * REACH, maxlen=2 * REACH)
    for look in chain(_look(frames, waiting), (None,) * (REACH - 1)):
        window.append(look)
        if len(window) == 2 * REACH:
            yield _judge(waiting.popleft(), list(window))


def compare_parts(frames: Iterable[Frame]) -> Iterator[Change]:
    """As `compare`, but each part between cuts that are marked already by itself."""
    return chain.from_iterable(map(compare, shots(frames)))


def without_duplicates(changes: Iterable[Change]) -> Iterator[Change]:
    """The changes of frames that change.

    Of more than HELD duplicates in a row, where the scene is still, the last one stays, and so does the last one of a
    shot: motion begins there, and does not spread over the time before.
    """
    held: Change | None = None
    count = 0
    for change in changes:
        if change.repeats:
            held, count = change, count + 1
            continue
        if held is not None and (count > HELD or change.marked.cut):
            yield held
        held, count = None, 0
        yield change
    if held is not None:
        yield held


def shots(frames: Iterable[Frame]) -> Iterator[Iterator[Frame]]:
    """The frames from each cut to the next, to be read in turn."""
    number = 0

    def shot(frame: Frame) -> int:
        nonlocal number
        number += frame.cut
        return number

    yield from (group for _, group in groupby(frames, shot))


@dataclass(frozen=True, eq=False)
class _Look:
    """What is kept of a frame, which itself may be large."""

    colours: np.ndarray
    """(regions, 3, values) uint8, sorted along the values."""
    step: float | None
    """Difference from the colours of the frame before, 0 to 1."""
    duplicate: float | None


def _look(frames: Iterable[Frame], waiting: deque[Frame]) -> Iterator[_Look]:
    """A look at each frame, which joins those that are waiting."""
    usual: deque[float] = deque(maxlen=_USUAL)
    last: tuple[np.ndarray, np.ndarray] | None = None
    for frame in frames:
        samples = _sampled(frame.image)
        colours = _colours(samples)
        step = duplicate = None
        if last is not None:
            step = _distance(last[1], colours)
            most = _most_changed(last[0], samples)
            # The second largest, so that a cut among them does not count.
            level = sorted(usual)[-2] if len(usual) > 1 else 0.0
            duplicate = max(0.0, 1 - most / max(level, _NOISE))
            usual.append(most)
        last = samples, colours
        waiting.append(frame)
        yield _Look(colours, step, duplicate)


def _judge(frame: Frame, window: Sequence[_Look | None]) -> Change:
    """The change at the frame in the middle of the window, which has None where there is no frame."""
    before, after = ([each for each in part if each] for part in (window[:REACH], window[REACH:]))
    look = after[0]
    if not before:
        return Change(frame)
    if len(before) + len(after) == 2:
        return Change(frame, look.duplicate)
    apart = min(_distance(one.colours, other.colours) for one in before for other in after)
    early, late = (
        [each.step for each in part if each and each.step is not None] for part in (window[1:REACH], after[1:])
    )
    # The least of each side too: a fast pan may begin here, and another cut may be near.
    around = max(float(np.median([*early, *late] or 0)), min(early, default=0.0), min(late, default=0.0))
    excess = max(0.0, apart - 2 * around)
    return Change(frame, look.duplicate, excess / (excess + _UNIT))


def _sampled(image: np.ndarray) -> np.ndarray:
    rows, columns = (np.arange(count) * size // count for count, size in zip(_SAMPLES, image.shape, strict=False))
    samples: np.ndarray = image[rows][:, columns]
    return (samples >> 8).astype(np.uint8) if samples.dtype == np.uint16 else samples


def _colours(samples: np.ndarray) -> np.ndarray:
    height, width = (side // (4 * _REGIONS) for side in _SAMPLES)
    regions = samples[::4, ::4].reshape(_REGIONS, height, _REGIONS, width, 3).transpose(0, 2, 4, 1, 3)
    # Of bytes, NumPy's stable sort is a radix sort: 0.05 ms instead of 0.8.
    colours: np.ndarray = np.sort(regions.reshape(_REGIONS**2, 3, height * width), kind="stable")
    return colours


def _distance(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one.astype(np.int16) - other).mean()) / 255


def _most_changed(one: np.ndarray, other: np.ndarray) -> float:
    """Mean difference within the block that changes most, in levels."""
    difference = np.maximum(one, other) - np.minimum(one, other)
    height, width = (side // _BLOCK for side in _SAMPLES)
    return float(difference.reshape(height, _BLOCK, width, _BLOCK, 3).mean((1, 3, 4)).max())
