"""A network that can be run in two parts, and what it makes of a frame."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from flowcli.errors import InputError, UsageError
from flowcli.geometry import resize_image
from flowcli.nets.convention import MOST_SIDE, Convention, Layout, find_convention
from flowcli.nets.spec import Spec, parse_spec
from flowcli.types import Frame

if TYPE_CHECKING:
    from flowcli.nets.graphs import CutPoint

Tensors = tuple[Tensor, ...]
Side = int | None


@dataclass(frozen=True)
class Port:
    """What the input of a network must be; None where anything goes."""

    dtype: torch.dtype = torch.float32
    height: Side = None
    width: Side = None
    layout: Layout = "NCHW"


@dataclass(frozen=True, eq=False)
class Parts:
    """The functions that a network consists of, on tensors of the CPU."""

    port: Port
    backbone: Callable[[Tensor], Tensors]
    """From the input to what can be carried."""
    head: Callable[[Tensors], Tensors] | None = None
    """From that to the outputs; None if the backbone gives them."""
    uncut: Callable[[Tensor], Tensors] | None = None
    """From the input to the outputs in one go, if that is another way."""
    carried: tuple[str, ...] = ()
    """The names of what the backbone gives, as far as they have some."""
    outputs: tuple[str, ...] = ()
    inner: Layout = "NCHW"
    """The layout of what the backbone gives, if there is a head; outputs have that of the input."""


@dataclass(frozen=True, eq=False)
class Net:
    """A network, and how frames become its input."""

    name: str
    convention: Convention
    parts: Parts
    scales: dict[str, Tensor] = field(default_factory=dict)
    """Factors for carried tensors, by name, or by number where they have none: (C, 1, 1) or (C, h, w)."""

    @property
    def cut(self) -> bool:
        """Whether `finish` does anything."""
        return self.parts.head is not None

    @property
    def layout(self) -> Layout:
        """The layout of what `encode` gives."""
        return self.parts.inner if self.cut else self.parts.port.layout

    def encode(self, frame: Frame) -> Tensors:
        """What the network knows of the frame where it is cut, (1, C, h, w) each; its outputs, if it is not cut."""
        return self._named(self.parts.backbone(self.prepare(frame)), "the network gives")

    def finish(self, tensors: Tensors) -> Tensors:
        """The outputs for what `encode` gave, or what was carried from there."""
        if self.parts.head is None:
            return tensors
        return self._named(self.parts.head(tensors), "the head gives")

    def whole(self, frame: Frame) -> Tensors:
        """The outputs for the frame, without the cut where that is possible."""
        if self.parts.uncut is not None:
            return self._named(self.parts.uncut(self.prepare(frame)), "the network gives")
        return self.finish(self.encode(frame))

    def prepare(self, frame: Frame) -> Tensor:
        """The frame as the input of the network."""
        convention, port = self.convention, self.parts.port
        image = torch.tensor(np.ascontiguousarray(frame.image[..., :3])).permute(2, 0, 1)[None].float()
        height, width = self.size(*frame.image.shape[:2])
        image = resize_image(image, height, width)
        if convention.order == "BGR":
            image = image.flip(1)
        mean, std = (torch.tensor(each).view(1, -1, 1, 1) for each in (convention.mean, convention.std))
        image = (image * (convention.range / 255) - mean) / std
        if port.layout == "NHWC":
            image = image.permute(0, 2, 3, 1)
        if not port.dtype.is_floating_point:
            image = image.round()
        return image.to(port.dtype).contiguous()

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the input for frames of this size: the whole frame, resized where it has to be.

        Raises InputError if the network takes another size than the convention says.
        """
        port, fixed = self.parts.port, self.convention.size
        sides = []
        for name, side, must, wanted in zip(
            ("height", "width"), (height, width), (port.height, port.width), fixed or (None, None), strict=True
        ):
            if must is not None and wanted not in (None, must):
                raise InputError(f"{self.name} takes a {name} of {must}, not {wanted}", "correct `size` beside it")
            step = self.convention.multiple
            sides.append(must or wanted or min(max(step, round(side / step) * step), MOST_SIDE // step * step))
        return sides[0], sides[1]

    def _named(self, tensors: Tensors, what: str) -> Tensors:
        if not tensors:
            raise InputError(f"{what} nothing: {self.name}", "let it give at least one tensor")
        return tensors


def open_net(text: str, split: str | None = None, preset: str | None = None, device: str = "cpu") -> Net:
    """The network that `text` names, as `parse_spec` reads it, ready to run with as many threads as torch has.

    preset: one of PRESETS, how frames become its input; a TOML file beside the model says more. Code is run only for
    package.module:function. Raises InputError for damaged files, wrong names and missing packages, UsageError.
    """
    spec = parse_spec(text, split)
    convention = find_convention(preset, spec.files[0] if spec.files else None)
    return Net(spec.text, convention, _open(spec, convention, device), _scales(spec, convention))


def find_cuts(text: str, preset: str | None = None) -> list[CutPoint]:
    """Good places to cut the ONNX file that `text` names. Raises InputError, and UsageError for other networks."""
    spec = parse_spec(text)
    if spec.form != "onnx" or spec.cut:
        raise UsageError(f"only one ONNX file can be cut: {text}", "give one .onnx")
    from flowcli.nets.sessions import find_onnx_cuts

    return find_onnx_cuts(spec.files[0], find_convention(preset, spec.files[0]))


def _open(spec: Spec, convention: Convention, device: str) -> Parts:
    if spec.form == "onnx":
        from flowcli.nets.sessions import open_onnx

        return open_onnx(spec, convention, device)
    if spec.form == "program":
        from flowcli.nets.programs import open_programs

        return open_programs(spec, convention)
    from flowcli.nets.functions import open_function

    return open_function(spec, convention)


def _scales(spec: Spec, convention: Convention) -> dict[str, Tensor]:
    if not convention.scale or not spec.files:
        return {}
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    file: Path = spec.files[0].parent / convention.scale
    try:
        found = load_file(file)
    except (SafetensorError, OSError) as error:
        raise InputError(f"cannot read the factors of {spec.text}: {file}: {error}", "correct `scale`") from error
    for name, tensor in found.items():
        if tensor.dim() not in (1, 3) or not tensor.is_floating_point():
            shape = tuple(tensor.shape)
            raise InputError(f"{name} in {file} has the shape {shape}", "factors are (C,) or (C, h, w) of floats")
    return {name: each.float().view(*each.shape, *(1,) * (3 - each.dim())) for name, each in found.items()}
