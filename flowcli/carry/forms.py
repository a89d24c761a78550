"""Mask files: how their numbers are stored as PNG. Only this module calls Pillow, which keeps palettes as they are."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from PIL import Image

from flowcli.errors import InputError
from flowcli.regular import open_regular

Mode = Literal["1", "L", "P", "I;16", "RGB"]
"""Pillow's names: black and white, grey, palette, 16-bit grey, colours."""
_MOST_COLOURS = 256
_DEPTH = 24
"""Where the bit depth stands in a PNG file."""


@dataclass(frozen=True, eq=False)
class Form:
    """How masks are stored."""

    mode: Mode
    bits: int = 8
    """Of an index of a palette."""
    palette: bytes = b""
    """RGB after RGB, and of `transparency` the alphas."""
    transparency: bytes | int | tuple[int, int, int] | None = None
    colours: dict[int, int] = field(default_factory=lambda: {0: 0})
    """For colours: 0xRRGGBB -> label, in the order in which they came; black is 0."""

    def table(self) -> np.ndarray:
        """(N, 3) uint8 RGB: the colours of the first labels, as the form itself gives them; N is 0 if it gives none."""
        if self.mode == "RGB":
            return _unpacked(np.array(list(self.colours), np.int32))
        return np.frombuffer(self.palette, np.uint8).reshape(-1, 3)


def read_form(path: Path) -> tuple[Form, tuple[int, int]]:
    """How the mask is stored, and its height and width; its pixels are not decoded. Raises InputError."""
    with _opened(path) as image:
        mode: Mode | None = next((mode for mode in get_args(Mode) if mode == image.mode), None)
        if image.format != "PNG" or mode is None:
            kind = "PNG" if image.format == "PNG" else image.format
            hint = "masks are PNG with a palette, in grey of 8 or 16 bits, in black and white, or RGB without alpha"
            raise InputError(f"not a mask, but {kind} with {image.mode}: {path}", hint)
        # Not getpalette, which decodes the pixels.
        palette = bytes(image.palette.palette) if image.mode == "P" and image.palette else b""
        bits = _bits(path) if image.mode == "P" else 8
        form = Form(mode, bits, palette, image.info.get("transparency"))
        return form, (image.height, image.width)


def read_mask(path: Path, form: Form) -> np.ndarray:
    """(H, W) int32: the numbers stored, of a mask of this form; white is 255 in one of black and white.

    Raises InputError for damaged files, those of another form, and more than 256 colours.
    """
    with _opened(path) as image:
        if image.mode != form.mode:
            raise InputError(f"{path} is stored as {image.mode}, the masks before it as {form.mode}", "convert it")
        try:
            values = np.asarray(image)
        except (OSError, SyntaxError, ValueError) as error:
            raise InputError(f"damaged mask: {path}", "make it again") from error
    if form.mode == "1":
        return values.astype(np.int32) * 255
    return _numbered(values, form, path) if form.mode == "RGB" else values.astype(np.int32)


def write_mask(path: Path, values: np.ndarray, form: Form) -> None:
    """Writes (H, W) int as PNG of the form. Raises OSError."""
    settings: dict[str, Any] = {}
    if form.mode == "RGB":
        image = Image.fromarray(form.table()[values])
    elif form.mode == "I;16":
        image = Image.fromarray(values.astype(np.uint16))
    else:
        image = Image.fromarray(values.astype(np.uint8))
    if form.mode == "1":
        image = image.convert("1", dither=Image.Dither.NONE)
    if form.mode == "P":
        # Pillow takes the least depth that holds the palette.
        least = 3 * ((1 << form.bits // 2) + 1 if form.bits > 1 else 1)
        image.putpalette(form.palette.ljust(least, b"\0"), "RGB")
        settings["bits"] = form.bits
    if form.transparency is not None:
        settings["transparency"] = form.transparency
    image.save(path, "PNG", **settings)


def _numbered(values: np.ndarray, form: Form, path: Path) -> np.ndarray:
    """The labels of colours (H, W, 3); new ones are added to the form's."""
    packed = values.astype(np.int32) @ np.array((1 << 16, 1 << 8, 1), np.int32)
    found, places = np.unique(packed, return_inverse=True)
    for colour in found.tolist():
        form.colours.setdefault(colour, len(form.colours))
    if len(form.colours) > _MOST_COLOURS:
        raise InputError(
            f"more than {_MOST_COLOURS} colours in masks up to {path}", "masks have one colour for each label"
        )
    labels = np.array([form.colours[colour] for colour in found.tolist()], np.int32)
    return labels[places].reshape(packed.shape)


def _unpacked(colours: np.ndarray) -> np.ndarray:
    """(..., 3) uint8 RGB of 0xRRGGBB."""
    return np.stack((colours >> 16, colours >> 8 & 255, colours & 255), axis=-1).astype(np.uint8)


def _bits(path: Path) -> int:
    with open_regular(path) as file:
        return file.read(_DEPTH + 1)[_DEPTH]


def _opened(path: Path) -> Image.Image:
    try:
        with open_regular(path):
            return Image.open(path)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(f"cannot read mask {path}: not a picture, or damaged", "masks are PNG files") from error
