"""What a text names as a network: files of ONNX or torch.export, or a function of Python."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from flowcli.errors import InputError, UsageError

_FUNCTION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


@dataclass(frozen=True)
class Spec:
    """A network, whole or in two parts."""

    text: str
    form: Literal["onnx", "program", "function"]
    files: tuple[Path, ...] = ()
    """One, or two: the backbone, and the head that takes what it gives."""
    split: tuple[str, ...] = ()
    """Names of the tensors where one ONNX file is cut."""

    @property
    def cut(self) -> bool:
        """Whether the network comes in two parts, as far as the text says."""
        return len(self.files) == 2 or bool(self.split)


def parse_spec(text: str, split: str | None = None) -> Spec:
    """The network that `text` names: FILE.onnx, FILE.pt2, two of a kind as A.onnx,B.onnx, or package.module:function.

    split: names with commas between, for one ONNX file. Raises InputError for files that are not there, UsageError for
    others and for a split of what cannot be cut.
    """
    names = tuple(name.strip() for name in (split or "").split(",") if name.strip())
    if split is not None and not names:
        raise UsageError("--split names no tensor", "flowcli propagate --net FILE.onnx --show-splits lists them")
    parts = [text] if Path(text).is_file() else text.split(",")
    suffixes = {Path(part).suffix.lower() for part in parts}
    if len(parts) <= 2 and suffixes in ({".onnx"}, {".pt2"}):
        files = tuple(Path(part.strip()) for part in parts)
        lost = next((file for file in files if not file.is_file()), None)
        if lost is not None:
            raise InputError(f"no such network: {lost}", "check the name")
        form: Literal["onnx", "program"] = "onnx" if ".onnx" in suffixes else "program"
        if names and (form == "program" or len(files) == 2):
            raise UsageError(f"--split cuts one ONNX file, not {text}", "leave it out, or give one .onnx")
        return Spec(text, form, files, names)
    if _FUNCTION.fullmatch(text):
        if names:
            raise UsageError(f"--split cuts one ONNX file, not {text}", "return two functions: backbone and head")
        return Spec(text, "function")
    hint = "give FILE.onnx, FILE.pt2, two of a kind as A.onnx,B.onnx, or package.module:function"
    raise UsageError(f"not a network: {text}", hint)
