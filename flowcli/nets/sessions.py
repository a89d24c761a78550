"""ONNX networks run by ONNX Runtime, in one part or two."""

from __future__ import annotations

import hashlib
import importlib
import io
from collections.abc import Sequence
from contextlib import redirect_stdout
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from flowcli.atomic import Part
from flowcli.errors import InputError
from flowcli.nets.convention import Convention, Layout
from flowcli.nets.net import Parts, Port, Tensors
from flowcli.nets.spec import Spec
from flowcli.ops.native import cache_folder
from flowcli.weights.files import sha256

if TYPE_CHECKING:
    from flowcli.nets.graphs import CutPoint

_VERSION = 1
"""Of what is kept in the cache."""
_DTYPES = {
    "tensor(float)": torch.float32,
    "tensor(float16)": torch.float16,
    "tensor(double)": torch.float64,
    "tensor(uint8)": torch.uint8,
}


def package(name: str) -> Any:
    """The package, one of those that networks of others need. Raises InputError if it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise InputError(f"ONNX networks need the package {name}", 'install it: pip install "flowcli[nets]"') from error


def open_onnx(spec: Spec, convention: Convention, device: str = "cpu") -> Parts:
    """The network in one ONNX file, cut at `spec.split` if that names tensors, or in two files. Raises InputError."""
    if len(spec.files) == 2:
        front, behind = (_Session(file, file, device) for file in spec.files)
        if len(behind.inputs) != len(front.outputs):
            gives, takes = (", ".join(each) for each in (front.outputs, behind.inputs))
            raise InputError(
                f"{spec.files[0]} gives {gives}, but {spec.files[1]} takes {takes}", "give two parts of one network"
            )
        port = front.port(convention)
        chosen = _chosen(convention, behind.outputs, spec.files[1])
        return Parts(
            port,
            lambda image: front.run((image,)),
            lambda tensors: behind.run(tensors, chosen),
            carried=tuple(front.outputs),
            outputs=chosen,
        )
    path = spec.files[0]
    whole = cache(lambda: _Session(prepared(path), path, device))
    if not spec.split:
        port, outputs = whole().port(convention), _chosen(convention, whole().outputs, path)
        return Parts(port, lambda image: whole().run((image,), outputs), carried=outputs, outputs=outputs)
    front_file, behind_file, outputs = cut_files(path, spec.split, convention)
    front, behind = _Session(front_file, path, device), _Session(behind_file, path, device)
    return Parts(
        front.port(convention),
        lambda image: front.run((image,)),
        lambda tensors: behind.run(tensors),
        lambda image: whole().run((image,), outputs),
        carried=spec.split,
        outputs=outputs,
    )


def prepared(path: Path) -> Path:
    """A file of the same network that ONNX Runtime runs well: itself, or for float16 one in float32, in the cache."""
    target = _kept(path, "whole")
    if target.is_file():
        return target
    package("onnx")
    from flowcli.nets import graphs

    model, changed = graphs.load_graph(path)
    return _keep(model, target) if changed else path


def cut_files(path: Path, split: Sequence[str], convention: Convention) -> tuple[Path, Path, tuple[str, ...]]:
    """The files of both parts, kept in the cache, and the names of the outputs that count."""
    package("onnx")
    from flowcli.nets import graphs

    model, _ = graphs.load_graph(path)
    outputs = _chosen(convention, [each.name for each in model.graph.output], path)
    words = "\n".join([*split, "", *outputs])
    targets = _kept(path, f"front\n{words}"), _kept(path, f"behind\n{words}")
    if not all(target.is_file() for target in targets):
        for half, target in zip(graphs.cut(model, split, outputs, path), targets, strict=True):
            _keep(half, target)
    return *targets, outputs


def find_onnx_cuts(path: Path, convention: Convention) -> list[CutPoint]:
    """Good places to cut the network in an ONNX file, for the size of the convention, or 512x512. Raises InputError."""
    package("onnx")
    from flowcli.nets import graphs

    model, _ = graphs.load_graph(path)
    outputs = _chosen(convention, [each.name for each in model.graph.output], path)
    height, width = convention.size or (512, 512)
    return graphs.cut_points(model, outputs, height, width)


def _kept(path: Path, what: str) -> Path:
    key = hashlib.sha256(f"{_VERSION}\n{sha256(path)}\n{what}".encode()).hexdigest()[:32]
    return cache_folder() / "nets" / f"{key}.onnx"


def _keep(model: Any, target: Path) -> Path:
    onnx = package("onnx")
    target.parent.mkdir(parents=True, exist_ok=True)
    with Part(target, overwrite=True) as part:
        try:
            onnx.save(model, part.path)
        except ValueError as error:
            raise InputError("the network is too large to be cut: above 2 GB", "cut it into two files") from error
    return target


def _chosen(convention: Convention, names: Sequence[str], path: Path) -> tuple[str, ...]:
    """The outputs that count."""
    for name in convention.output:
        if name not in names:
            raise InputError(f"no output {name} in {path}", f"it has {', '.join(names)}")
    return convention.output or tuple(names if convention.kind == "tensors" else names[:1])


class _Session:
    """A graph that ONNX Runtime has loaded. path: the file that it came from, for messages."""

    def __init__(self, file: Path, path: Path, device: str) -> None:
        runtime = package("onnxruntime")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.inter_op_num_threads = 1
        # Threads that spin while they wait take the cores from the flow.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 4
        cuda = device.startswith("cuda") and "CUDAExecutionProvider" in runtime.get_available_providers()
        providers = [*(["CUDAExecutionProvider"] if cuda else []), "CPUExecutionProvider"]
        try:
            # Before it raises an error it prints it, to where pictures may be written.
            with redirect_stdout(io.StringIO()):
                self._session = runtime.InferenceSession(str(file), options, providers=providers)
        except _errors(runtime) as error:
            raise InputError(f"cannot load {path}: {_first(error)}", "check it, or export it again") from error
        self._path = path
        self._takes = self._session.get_inputs()
        self.inputs = [each.name for each in self._takes]
        self.outputs = [each.name for each in self._session.get_outputs()]

    def port(self, convention: Convention) -> Port:
        """What it takes as a picture. Raises InputError if it does not take one."""
        shapes = ", ".join(f"{each.name} {each.shape} {each.type}" for each in self._takes)
        (first, *more) = self._takes
        if more or len(first.shape) != 4 or first.type not in _DTYPES:
            raise InputError(f"{self._path} does not take one picture, but {shapes}", "export it for (1, 3, H, W)")
        count, *sides = (side if isinstance(side, int) and side > 0 else None for side in first.shape)
        last = convention.layout == "NHWC" or (convention.layout == "auto" and sides[2] == 3 and sides[0] != 3)
        layout: Layout = "NHWC" if last else "NCHW"
        channels, height, width = (sides[2], *sides[:2]) if last else sides
        if count not in (None, 1) or channels not in (None, 3):
            raise InputError(f"{self._path} does not take one picture, but {shapes}", "export it for (1, 3, H, W)")
        return Port(_DTYPES[first.type], height, width, layout)

    def run(self, tensors: Tensors, outputs: Sequence[str] | None = None) -> Tensors:
        given: dict[str, np.ndarray] = {
            take.name: tensor.cpu().numpy() for take, tensor in zip(self._takes, tensors, strict=True)
        }
        try:
            found = self._session.run(list(outputs) if outputs else None, given)
        except _errors(package("onnxruntime")) as error:
            shapes = ", ".join(f"{name} {value.shape}" for name, value in given.items())
            wanted = ", ".join(f"{each.name} {each.shape}" for each in self._takes)
            raise InputError(
                f"{self._path} fails on {shapes}: it takes {wanted}: {_first(error)}",
                "set `size` or `multiple` in a TOML file beside it",
            ) from error
        return tuple(torch.from_numpy(np.asarray(each)) for each in found)


def _errors(runtime: Any) -> tuple[type[Exception], ...]:
    state = importlib.import_module("onnxruntime.capi.onnxruntime_pybind11_state")
    names = ("Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NoSuchFile", "NotImplemented")
    return (*(getattr(state, name) for name in (*names, "RuntimeException")), RuntimeError, UnicodeDecodeError)


def _first(error: Exception) -> str:
    return str(error).splitlines()[0]
