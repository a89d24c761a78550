"""Programs of torch.export (.pt2), read without running code that is in the file.

torch's own loader does more than its name says: it unpickles payloads that are marked so, and sample inputs; it
evaluates expressions for sizes, and guards, as Python; and it looks up operators by any name below `torch`. So an
archive is read here first, and only what a network needs is handed on.
"""

from __future__ import annotations

import ast
import io
import json
import re
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from flowcli.errors import InputError
from flowcli.nets.convention import Convention
from flowcli.nets.functions import as_tensors
from flowcli.nets.net import Parts, Port, Side, Tensors
from flowcli.nets.spec import Spec

_MOST_TEXT = 1 << 28
"""Largest description of a program, bytes."""
_KEPT = ("archive_format", "archive_version", "byteorder", ".data/version")
_CONFIG = re.compile(r"data/(?:weights|constants)/\w+_config\.json")
_PAYLOAD = re.compile(r"data/(?:weights/weight|constants/tensor)_\d+")
_MODEL = re.compile(r"models/(\w+)\.json")
_NAME = re.compile(r"[\w.]*")
_TARGET = re.compile(r"torch\.ops\.(?:aten|prims)\.\w+(?:\.\w+)?|torch\.sym_\w+|math\.\w+|_operator\.\w+")
_TARGETS_REFUSED = re.compile(r"_operator\.(?:call|attrgetter|methodcaller)|.*\.__|.*from_file.*")
_FUNCTIONS = {
    *("Symbol", "Integer", "Float", "Add", "Mul", "Pow", "Max", "Min", "Mod", "PythonMod", "FloorDiv", "CeilDiv"),
    *("CleanDiv", "IntTrueDiv", "FloatTrueDiv", "ToFloat", "TruncToInt", "Eq", "Ne", "Ge", "Gt", "Le", "Lt", "And"),
    *("Or", "Not", "Where", "Rational", "Abs", "Identity", "ModularIndexing"),
}
"""What sizes are expressed in."""


def open_programs(spec: Spec, convention: Convention) -> Parts:
    """The network in one file, or in two: the head takes what the backbone gives. Raises InputError."""
    programs = [load_program(file) for file in spec.files]
    inputs = [_input_sizes(program) for program in programs]
    if len(inputs[0]) != 1 or len(inputs[0][0]) != 4:
        shapes = ", ".join(map(str, inputs[0]))
        raise InputError(f"{spec.files[0]} does not take one picture, but {shapes}", "export it for (1, 3, H, W)")
    sizes = inputs[0][0]
    last = convention.layout == "NHWC" or (convention.layout == "auto" and sizes[3] == 3 and sizes[1] != 3)
    height, width = sizes[1:3] if last else sizes[2:]
    port = Port(height=height, width=width, layout="NHWC" if last else "NCHW")
    runs = [_runner(program, file) for program, file in zip(programs, spec.files, strict=True)]
    return Parts(port, lambda image: runs[0]((image,)), runs[1] if len(runs) == 2 else None, inner=port.layout)


def load_program(path: Path) -> torch.export.ExportedProgram:
    """The program in a .pt2 file. Raises InputError if it is damaged, or would run code."""
    import logging

    cleaned = _cleaned(path)
    logger = logging.getLogger("torch.export.pt2_archive._package")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        return torch.export.load(cleaned)
    except (RuntimeError, ValueError, KeyError, AssertionError, TypeError, AttributeError, OSError) as error:
        text = str(error).splitlines()
        said = text[0] if text else type(error).__name__
        hint = f"export it again with torch {torch.__version__.partition('+')[0]}"
        raise InputError(f"cannot load {path}: {said}", hint) from error
    finally:
        logger.setLevel(level)


def _cleaned(path: Path) -> io.BytesIO:
    """The archive without sample inputs and guards, and with nothing but tensors and known operators."""
    try:
        with zipfile.ZipFile(path) as archive:
            return _rewritten(archive, path)
    except (OSError, zipfile.BadZipFile, KeyError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(f"not a program of torch.export, or a damaged one: {path}", "export it again") from error


def _rewritten(archive: zipfile.ZipFile, path: Path) -> io.BytesIO:
    members = {info.filename.partition("/")[2]: info for info in archive.infolist()}
    if not any(_MODEL.fullmatch(name) for name in members) or "archive_format" not in members:
        raise zipfile.BadZipFile
    size = path.stat().st_size
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_STORED) as result:
        for name, info in members.items():
            if info.compress_type != zipfile.ZIP_STORED or info.file_size > size:
                raise _refused(path, f"{name} is compressed")
            if _CONFIG.fullmatch(name):
                _check_payloads(_json(archive, info, path), path)
            elif (found := _MODEL.fullmatch(name)) is not None:
                model = _json(archive, info, path)
                _check_model(model, path)
                model["guards_code"] = []
                result.writestr(f"net/{name}", json.dumps(model))
                # Torch wants them, but takes none for an empty file.
                result.writestr(f"net/data/sample_inputs/{found[1]}.pt", b"")
                continue
            elif not (_PAYLOAD.fullmatch(name) or name in _KEPT):
                continue
            result.writestr(f"net/{name}", archive.read(info))
    made.seek(0)
    return made


def _json(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> dict[str, Any]:
    if info.file_size > _MOST_TEXT:
        raise _refused(path, f"{info.filename} has {info.file_size} bytes")
    found = json.loads(archive.read(info))
    if not isinstance(found, dict):
        raise zipfile.BadZipFile
    return found


def _refused(path: Path, why: str) -> InputError:
    return InputError(f"{path} is not safe to load: {why}", "export it again, of tensors and operators of torch alone")


def _check_payloads(config: dict[str, Any], path: Path) -> None:
    for name, entry in config.get("config", {}).items():
        if entry.get("use_pickle") is not False:
            raise _refused(path, f"{name} is pickled")
        if not re.fullmatch(r"(?:weight|tensor)_\d+", str(entry.get("path_name"))):
            raise _refused(path, f"{name} is no tensor")


def _check_model(model: dict[str, Any], path: Path) -> None:
    for key, value in _texts(model):
        if key == "target" and (not _TARGET.fullmatch(value) or _TARGETS_REFUSED.fullmatch(value)):
            raise _refused(path, f"it calls {value}")
        if key == "expr_str" and not _is_size(value):
            raise _refused(path, f"a size is {value}")
        if key in ("name", "graph_name") and not _NAME.fullmatch(value):
            raise _refused(path, f"a name is {value}")
    for value in model.get("range_constraints", {}):
        if not _is_size(value):
            raise _refused(path, f"a size is {value}")


def _texts(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """All texts in JSON, each with the key that it stands under."""
    if isinstance(value, dict):
        for name, each in value.items():
            yield from _texts(each, name)
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each, key)
    elif isinstance(value, str):
        yield key, value


def _is_size(text: str) -> bool:
    """Whether it is an expression of numbers, symbols and known functions alone."""
    try:
        tree = ast.parse(text, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and not (isinstance(node.func, ast.Name) and node.func.id in _FUNCTIONS):
            return False
        if isinstance(node, ast.Name) and node.id not in _FUNCTIONS and not re.fullmatch(r"[a-z]+\d+", node.id):
            return False
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and not re.fullmatch(r"\w+", node.value):
            return False
        if isinstance(node, ast.Attribute | ast.Subscript | ast.Lambda | ast.comprehension | ast.JoinedStr):
            return False
    return True


def _input_sizes(program: torch.export.ExportedProgram) -> list[tuple[Side, ...]]:
    """The shapes of the inputs, None for a size that is free."""
    names = set(program.graph_signature.user_inputs)
    nodes = [node for node in program.graph.nodes if node.op == "placeholder" and node.name in names]
    return [tuple(side if isinstance(side, int) else None for side in node.meta["val"].shape) for node in nodes]


def _runner(program: torch.export.ExportedProgram, file: Path) -> Callable[[Tensors], Tensors]:
    module = program.module()
    sizes = _input_sizes(program)

    def run(tensors: Tensors) -> Tensors:
        given = [tuple(each.shape) for each in tensors]
        fits = len(given) == len(sizes) and all(
            len(one) == len(other) and all(must in (None, side) for side, must in zip(one, other, strict=True))
            for one, other in zip(given, sizes, strict=True)
        )
        if not fits:
            wanted = ", ".join(str(each).replace("None", "any") for each in sizes)
            raise InputError(
                f"{file} takes {wanted}, not {', '.join(map(str, given))}", "set `size` or `multiple` beside it"
            )
        try:
            with torch.inference_mode():
                return as_tensors(module(*tensors), str(file))
        except (RuntimeError, AssertionError) as error:
            said = str(error).splitlines()[0]
            raise InputError(f"{file} fails on {given[0]}: {said}", "set `size` or `multiple` beside it") from error

    return run
