"""What a network takes and gives: the order and range of colours, sizes, and what its output means."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from flowcli.errors import InputError, UsageError
from flowcli.regular import read_regular

Order = Literal["RGB", "BGR"]
Layout = Literal["auto", "NCHW", "NHWC"]
Kind = Literal["auto", "classes", "probability", "picture", "tensors"]
"""Scores of classes, how much of each pixel belongs to something, a picture, or any tensors."""
Activation = Literal["none", "sigmoid"]

MOST_SIDE = 1 << 14
"""Largest side that a network's input may have, pixels."""


@dataclass(frozen=True)
class Convention:
    """How a frame becomes the input of a network, and what its output is."""

    order: Order = "RGB"
    range: float = 1.0
    """The number that white becomes; black is 0."""
    mean: tuple[float, ...] = (0.0,)
    """Taken away after that, in the order of the channels; one number, or three."""
    std: tuple[float, ...] = (1.0,)
    """And then divided by."""
    layout: Layout = "auto"
    """auto: as the graph says, else NCHW."""
    size: tuple[int, ...] = ()
    """Height and width that frames are resized to; empty: as the graph says, else that of the frame."""
    multiple: int = 1
    """Of which height and width must be a multiple, if they are free."""
    kind: Kind = "auto"
    """auto: one channel is a probability, three are a picture, others, and whole numbers, are classes."""
    output: tuple[str, ...] = ()
    """The names of the outputs that count; empty: the first one, and all of them for tensors."""
    activation: Activation = "none"
    """What makes a probability of the output."""
    scale: str = ""
    """A safetensors file beside the model: factors for the channels of carried tensors, (C,) or (C, h, w), by name.

    Tensors between two programs have no names but their numbers: "0".
    """


PRESETS: Mapping[str, Convention] = {
    "unit": Convention(),
    "signed": Convention(mean=(0.5,), std=(0.5,)),
    "bytes": Convention(range=255.0),
    "imagenet": Convention(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
    "caffe": Convention("BGR", 255.0, mean=(103.939, 116.779, 123.68)),
}
"""0 to 1; -1 to 1; 0 to 255; torchvision's and Caffe's means of ImageNet."""


def find_convention(preset: str | None, model: Path | None) -> Convention:
    """That of a preset, or of the TOML file beside the model, whose entries replace those of the preset.

    Raises UsageError for an unknown preset, InputError for a damaged file or a wrong entry.
    """
    if preset is not None and preset not in PRESETS:
        raise UsageError(f"unknown input of a network: {preset}", f"known: {' '.join(PRESETS)}")
    base = PRESETS[preset or "unit"]
    if model is None or not (beside := model.with_suffix(".toml")).is_file():
        return base
    try:
        entries = tomllib.loads(read_regular(beside).decode())
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read {beside}: {error}", "correct it, or remove it") from error
    return replace(base, **{name: _checked(beside, name, value) for name, value in entries.items()})


def _checked(file: Path, name: str, value: Any) -> Any:
    hints = get_type_hints(Convention)
    if name not in hints:
        known = ", ".join(each.name for each in dataclasses.fields(Convention))
        raise InputError(f"unknown entry in {file}: {name}", f"known: {known}")
    kind = hints[name]
    if get_origin(kind) is Literal:
        if value in get_args(kind):
            return value
        raise InputError(f"{name} in {file} is {value!r}", f"use one of {', '.join(get_args(kind))}")
    if get_origin(kind) is tuple:
        found = tuple(value) if isinstance(value, list) else (value,)
        if all(_is(each, get_args(kind)[0]) for each in found) and _sensible(name, found):
            return found
    elif _is(value, kind) and _sensible(name, (value,)):
        return value
    raise InputError(f"{name} in {file} is {value!r}", _SENSIBLE[name])


def _is(value: Any, kind: type) -> bool:
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, kind) and not isinstance(value, bool)


_SENSIBLE = {
    "range": "give a number above 0",
    "mean": "give one number, or three",
    "std": "give one number, or three, other than 0",
    "size": f"give [height, width], at most {MOST_SIDE}",
    "multiple": f"give a whole number from 1 to {MOST_SIDE}",
    "output": "give names of outputs",
    "scale": "give the name of a file beside the model",
}


def _sensible(name: str, values: tuple[Any, ...]) -> bool:
    if name in ("mean", "std"):
        return len(values) in (1, 3) and not (name == "std" and 0 in values)
    if name == "size":
        return len(values) == 2 and all(0 < side <= MOST_SIDE for side in values)
    return name in ("output", "scale") or 0 < values[0] <= MOST_SIDE
