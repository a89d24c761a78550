"""Picture files and drawing on pictures: only this module calls OpenCV for them, and knows its BGR order."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from flowcli.avif import Turn, stored_turn
from flowcli.complaints import overheard
from flowcli.environment import MORE_PIXELS, max_pixels
from flowcli.errors import InputError, LimitError, OutputError, first_line, is_memory_error
from flowcli.headers import brightest, ends_early, straight
from flowcli.opencv import cv2
from flowcli.pages import is_animation, picture_pages
from flowcli.regular import read_regular

# A picture that cannot be read or written is reported by the exception raised here, once.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)

_LOG = logging.getLogger("flowcli")
_FONT = cv2.FONT_HERSHEY_SIMPLEX
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".ppm", ".pgm", ".pnm", ".jp2", ".avif")
"""Suffixes of picture files that can be read and written, lower case."""
PLATE_SUFFIXES = (".exr", ".dpx")
"""Suffixes of frames of film and rendering, lower case, which are read (`video.plates`) and not written."""
ALPHA_SUFFIXES = (".png", ".webp", ".tif", ".tiff", ".avif")
"""Suffixes of formats that keep RGBA."""
DEEP_SUFFIXES = (".png", ".tif", ".tiff", ".ppm", ".pgm", ".pnm", ".jp2")
"""Suffixes of formats that keep 16 bits."""


def warn_of_damage(path: Path, damage: str) -> None:
    """Logs what a decoder says of a picture that it could read."""
    _LOG.warning("%s is damaged (%s)", path, damage)


def read_picture(
    path: Path,
    page: int | None = None,
    on_damage: Callable[[Path, str], None] = warn_of_damage,
    *,
    deep: bool = False,
) -> np.ndarray:
    """The picture as (H, W, 3) uint8 RGB, upright: EXIF orientation applied, grey and palettes expanded, alpha dropped.

    deep: uint16 if the file has 16 bits. page: of a TIFF, as `picture_pages` numbers them. on_damage: called if the
    decoder complains but gives a picture. Raises InputError with the path if the file cannot be opened or decoded, or
    if it holds several pictures and no page is named.
    """
    data = _bytes(path)
    pages = picture_pages(data)
    if page is None and (len(pages) > 1 or is_animation(data)):
        raise InputError(f"several pictures in one file: {path}", "name it alone; its pictures are then frames")
    white = brightest(data)
    # Not IMREAD_COLOR_RGB: OpenCV 5 forgets the order of colours for AVIF with alpha, and gives memory that it has not
    # written for a TIFF of 16 bits.
    flags = cv2.IMREAD_COLOR | (cv2.IMREAD_ANYDEPTH if white or deep else 0)
    image, damage = _decode(path, straight(data), flags, pages[0] if page is None else page)
    if damage:
        on_damage(path, damage)
    if white:
        image = np.rint(image.clip(max=white) * ((65535 if deep else 255) / white)).astype(
            np.uint16 if deep else np.uint8
        )
    if image.dtype not in (np.uint8, np.uint16):
        raise _unusual(path, image)
    return _upright(_swap(image), stored_turn(data))


def read_unscaled(path: Path) -> np.ndarray:
    """The stored values: uint8, uint16 or float32, (H, W) or (H, W, 3) RGB or (H, W, 4) RGBA. Raises InputError."""
    return _swap(_decode(path, _bytes(path), cv2.IMREAD_UNCHANGED)[0])


def write_picture(path: Path, image: np.ndarray) -> None:
    """Writes (H, W, 3) RGB, (H, W, 4) RGBA or (H, W) grey, uint8 or uint16, as the suffix says.

    16 bits are rounded to 8 where the format holds no more. Raises OutputError if the format cannot hold the picture,
    OSError if the file cannot be written.
    """
    suffix = path.suffix.lower()
    if suffix not in PICTURE_SUFFIXES:
        raise OutputError(f"unknown kind of picture: {path}", f"use one of {' '.join(PICTURE_SUFFIXES)}")
    if image.shape[2:] == (4,) and suffix not in ALPHA_SUFFIXES:
        raise OutputError(f"{suffix} cannot hold transparency: {path}", f"use one of {' '.join(ALPHA_SUFFIXES)}")
    if image.dtype == np.uint16 and suffix not in DEEP_SUFFIXES:
        image = in_bytes(image)
    try:
        encoded, data = cv2.imencode(suffix, _swap(image))
    except cv2.error:
        encoded = False
    if not encoded:
        height, width = image.shape[:2]
        raise LimitError(f"cannot write a picture of {width}x{height} as {suffix}: {path}", "use .png")
    path.write_bytes(data.tobytes())


def in_bytes(image: np.ndarray) -> np.ndarray:
    """The picture in uint8, rounded if it is uint16."""
    # 65535 / 255 is 257.
    return ((image.astype(np.uint32) + 128) // 257).astype(np.uint8) if image.dtype == np.uint16 else image


def resized(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """The picture in another size, as an area: bicubic, or without aliasing where both sides shrink."""
    if image.shape[:2] == (height, width):
        return image
    shrinks = height <= image.shape[0] and width <= image.shape[1]
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)


def to_jpeg(image: np.ndarray, quality: int = 80) -> bytes:
    """The (H, W, 3) uint8 RGB picture as JPEG. quality: 0 to 100."""
    _, data = cv2.imencode(".jpg", _swap(image), (cv2.IMWRITE_JPEG_QUALITY, quality))
    return data.tobytes()


def from_jpeg(data: bytes) -> np.ndarray:
    """The picture that `to_jpeg` has encoded."""
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    if image is None:
        raise ValueError("not a picture of to_jpeg")
    return image


def draw_text(image: np.ndarray, text: str, left: int, bottom: int, height: int = 10) -> np.ndarray:
    """A copy of the uint8 RGB or RGBA picture with `text` (ASCII) in white on a black outline.

    left, bottom: where the base line begins. height: of a capital letter; it is reduced if the text would not fit.
    All in pixels.
    """
    size = cv2.getFontScaleFromHeight(_FONT, height)
    size *= min(1.0, max(0, image.shape[1] - left) / max(1, text_width(text, height)))
    letters = cv2.putText(np.zeros(image.shape[:2], np.uint8), text, (left, bottom), _FONT, size, 255, 1, cv2.LINE_AA)
    # Not text drawn thicker: OpenCV 5 spaces thick letters more widely.
    outline = cv2.dilate(letters, np.ones((3, 3), np.uint8))
    drawn = image.copy()
    rows, columns = np.nonzero(outline)
    cover = outline[rows, columns, None] / 255
    drawn[rows, columns] = np.rint(image[rows, columns] * (1 - cover))
    drawn[rows, columns, :3] += letters[rows, columns, None]
    if image.shape[2] == 4:
        drawn[rows, columns, 3] = np.maximum(image[rows, columns, 3], outline[rows, columns])
    return drawn


def text_width(text: str, height: int) -> int:
    """The width of what `draw_text` draws with room for it, pixels."""
    (width, _), _ = cv2.getTextSize(text, _FONT, cv2.getFontScaleFromHeight(_FONT, height), 1)
    return int(width)


def draw_line(image: np.ndarray, points: Sequence[tuple[float, float]], colour: tuple[int, int, int]) -> np.ndarray:
    """A copy of the uint8 RGB picture with a line through the points (x, y), pixels; a single point becomes a dot."""
    # OpenCV draws nothing through one point, but a line without length is a dot.
    places = np.rint(np.array([*points, points[-1]]) * 16).astype(np.int32)
    return cv2.polylines(image.copy(), [places], False, colour, 2, cv2.LINE_AA, shift=4)


def dimmed(image: np.ndarray, dim: float) -> np.ndarray:
    """A copy of the uint8 RGB picture, darkened and desaturated: unchanged for dim = 0, black for 1."""
    image = np.ascontiguousarray(image)
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    light = 1 - dim
    return cv2.addWeighted(image, light**2, grey, light * dim, 0)


def draw_arrows(
    image: np.ndarray, tails: np.ndarray, moves: np.ndarray, colours: np.ndarray, thickness: float
) -> np.ndarray:
    """A copy of the uint8 RGB picture with dark-edged arrows, and dots where the move is zero.

    tails: (N, 2) x, y; moves: (N, 2) from tails to tips; thickness: of the shafts; all in pixels. colours: (N, 3)
    uint8 RGB.
    """
    drawn = image.copy()
    outline = max(1, round(0.6 * thickness + 0.3))
    for tail, move, colour in zip(tails, moves, colours.tolist(), strict=True):
        length = math.hypot(*move)
        if length:
            along = move / length
            shape = tail + _arrow(length, thickness) @ np.array((along, (-along[1], along[0])))
        else:
            shape = tail + _DOT * (0.35 * thickness)
        corners = np.rint(shape * 16).astype(np.int32)
        cv2.polylines(drawn, [corners], True, (0, 0, 0), outline, cv2.LINE_AA, 4)
        cv2.fillPoly(drawn, [corners], colour, cv2.LINE_AA, 4)
    return drawn


_DOT = np.array([(math.cos(angle), math.sin(angle)) for angle in np.arange(8) * math.pi / 4])


def _arrow(length: float, thickness: float) -> np.ndarray:
    """(7, 2): the corners of an arrow, along and across it, from its tail; the shaft widens towards the head."""
    # The head of a short arrow is smaller, and most of it.
    wing = min(1.3 * thickness, 0.32 * length)
    neck = length - 1.8 * wing
    barb = neck - 0.25 * wing
    half = min(0.5 * thickness, 0.35 * wing)
    right = [(0, 0.35 * half), (neck, half), (barb, wing)]
    return np.array([*right, (length, 0), *((along, -across) for along, across in reversed(right))])


def draw_trails(image: np.ndarray, paths: np.ndarray, colours: np.ndarray, thickness: float) -> np.ndarray:
    """A copy of the uint8 RGB picture with paths that fade towards their older ends, and dots at their newest places.

    paths: (L, N, 2) x, y in pixels, oldest first, NaN where a path does not exist; a path needs two places to be drawn.
    colours: (L - 1, N, 3) uint8, from each place to the next.
    """
    steps = len(paths) - 1
    places = np.rint(np.nan_to_num(paths) * 16).astype(np.int32)
    known = np.isfinite(paths[..., 0])
    known = known[:-1] & known[1:]
    # Colours are painted wider than the lines; `cover` is how much of them shows.
    paint, cover = image.copy(), np.zeros(image.shape[:2], np.uint8)
    width, radius = max(1, round(thickness)), round(16 * (thickness + 0.5))
    for step in range(steps):
        lines = np.stack((places[step], places[step + 1]), axis=1)[known[step]]
        cv2.polylines(cover, list(lines), False, 255 * ((step + 1) / steps) ** 1.5, width, cv2.LINE_AA, 4)
        for line, colour in zip(lines, colours[step, known[step]].tolist(), strict=True):
            cv2.polylines(paint, [line], False, colour, width + 2, cv2.LINE_8, 4)
    for place, colour in zip(places[-1, known[-1]].tolist(), colours[-1, known[-1]].tolist(), strict=True):
        cv2.circle(paint, place, radius + 16, colour, -1, cv2.LINE_8, 4)
        cv2.circle(cover, place, radius, 255, -1, cv2.LINE_AA, 4)
    seen = cover.astype(np.float32) / 255
    return cv2.blendLinear(paint, image, seen, 1 - seen)


def draw_circles(
    image: np.ndarray, places: np.ndarray, colours: np.ndarray, radius: float, *, filled: bool
) -> np.ndarray:
    """A copy of the uint8 RGB picture with dots, or thin rings, at places (N, 2) x, y; colours: (N, 3) uint8 RGB."""
    drawn = image.copy()
    width = -1 if filled else 1
    for place, colour in zip(np.rint(places * 16).astype(np.int32).tolist(), colours.tolist(), strict=True):
        cv2.circle(drawn, place, round(16 * radius), colour, width, cv2.LINE_AA, 4)
    return drawn


def heat(values: np.ndarray) -> np.ndarray:
    """A heat map (H, W, 3) uint8 RGB of (H, W) values: black up to 0, then violet and orange to pale yellow at 1."""
    levels = np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)
    return _swap(cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO))


def _bytes(path: Path) -> bytes:
    try:
        return read_regular(path)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}", "check the name and the permissions") from error


def _decode(path: Path, data: bytes, flags: int, page: int = 0) -> tuple[np.ndarray, str]:
    """The picture in `data`, the bytes of `path`, as OpenCV stores it, and what is said of damage.

    Raises InputError.
    """
    with overheard() as complaint:
        image = _decoded(path, data, flags, page)
    if image is None:
        stored = _decoded(path, data, cv2.IMREAD_UNCHANGED, page) if not complaint.text else None
        if stored is not None:
            raise _unusual(path, stored)
        raise InputError(f"not a picture, or a damaged one: {path}", "remove it, or convert it to PNG")
    return image, complaint.text


def _unusual(path: Path, image: np.ndarray) -> InputError:
    return InputError(f"a picture of {image.dtype} values: {path}", "convert it to 8 or 16 bits, as PNG")


def _decoded(path: Path, data: bytes, flags: int, page: int) -> np.ndarray | None:
    stored = np.frombuffer(data, np.uint8)
    try:
        if page:
            _, images = cv2.imdecodemulti(stored, flags, range=(page, page + 1))
            return images[0] if images else None
        return cv2.imdecode(stored, flags) if stored.size and not ends_early(data) else None
    except cv2.error as error:
        if "CV_IO_MAX_IMAGE" in str(error):
            limit = max_pixels()
            raise InputError(f"picture of more than {limit} pixels: {path}", MORE_PIXELS) from error
        if is_memory_error(error):
            raise MemoryError(first_line(error)) from error
        return None


def _upright(image: np.ndarray, turn: Turn) -> np.ndarray:
    if turn == Turn():
        return image
    turned = np.rot90(image, turn.quarters)
    return np.ascontiguousarray(turned if turn.mirror is None else np.flip(turned, turn.mirror))


def _swap(image: np.ndarray) -> np.ndarray:
    """RGB <-> BGR, alpha and grey untouched."""
    channels = image.shape[2] if image.ndim == 3 else 1
    if channels == 1:
        return image
    return cv2.cvtColor(image, cv2.COLOR_RGBA2BGRA if channels == 4 else cv2.COLOR_RGB2BGR)
