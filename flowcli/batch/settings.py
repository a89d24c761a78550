"""What decides what is in an output of a batch: the options that matter for it, in words, and the weights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import Any

from flowcli.batch.work import Task
from flowcli.interpolation.options import Multiple
from flowcli.output.naming import Output

_NEVER = frozenset((
    *("input", "second", "strict", "deep", "device", "weights", "model", "method"),
    *("masks", "suggest", "targets", "kinds", "occlusion", "confidence", "overwrite"),
))  # fmt: skip
"""Fields of options that change no output, or follow from what is recorded beside them."""
_DRAWING = frozenset(("max_flow", "legend", "percentile", "dim", "floor"))
_ENCODING = frozenset(("fps", "crf"))


def settings(output: Output, task: Task) -> dict[str, str]:
    """The options that this output is made with, by their names on the command line; those left at default are not.

    `model` and `weights` are there wherever a network is at work.
    """
    made = {} if output.what == "rgb" else {"model": task.engine.model, "weights": task.weights}
    parts = [task.source, *([task.engine] if made else []), task.output]
    chosen = {name: value for part in parts for name, value in _chosen(part) if _matters(name, value, output)}
    if task.engine.duplicates == "skip":
        # Copies of the frames have fewer, too.
        chosen["duplicates"] = "skip"
    if task.making is not None:
        chosen |= {"interpolate" if name == "fps" else name: value for name, value in _chosen(task.making)}
    if task.carrying is not None:
        chosen |= {"carried": "masks", **dict(_chosen(task.carrying))}
    return made | {name.replace("_", "-"): _text(value) for name, value in chosen.items()}


def _chosen(options: Any) -> Iterator[tuple[str, Any]]:
    """The fields of a dataclass that are not at their defaults."""
    for field in fields(options):
        value = getattr(options, field.name)
        if field.name not in _NEVER and value != field.default:
            yield field.name, value


def _matters(name: str, value: Any, output: Output) -> bool:
    """Whether a field changes this output. Of a field that nothing is known about it is assumed."""
    if name == "duplicates":
        return value != "keep" or output.style is not None
    if name in _DRAWING:
        return output.style is not None
    if name == "style":
        # It is the content of an output, but beside frames.
        return output.what == "side-by-side" and output.beside != "wheel"
    if name in _ENCODING:
        return output.video
    if name == "holes":
        return output.what == "warp"
    if name == "bound":
        return output.format in ("tsn", "i3d") or (output.video and output.what == "flow")
    return name != "exr" or output.format == "exr"


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Multiple):
        return f"x{value.factor}"
    return "x".join(map(str, value)) if isinstance(value, tuple) else str(value)
