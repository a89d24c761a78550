"""Which module may import which. docs/architecture.md explains the layers."""

from __future__ import annotations

import ast
import graphlib
import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

LAYERS = """
    __main__
    cli
    train batch bench doctor
    flowcli
    evaluation
    carry interpolation arrays view
    api
    run
    output
    motion
    flowsource draw continuity matching
    classic
    engine nets
    video flowfile weights
    models
    retiming
    ops
    geometry
    metrics openexr pictures given packing sequences shots targets
    pipeline atomic opencv inputs pages stored
    private renames headers avif complaints regular once options
    types environment
    errors
"""
"""From the top down. A module may import from lower lines and from its own package, not from others of its line."""

RANK = {unit: -number for number, line in enumerate(LAYERS.split("\n")) for unit in line.split()}
OWNERS = {
    "cv2": {"opencv"},
    "ffmpeg": {"video"},
    "imageio_ffmpeg": {"video"},
    "click": {"cli"},
    "rich": {"cli"},
    "matplotlib": {"motion"},
    "pyarrow": {"motion"},
    "h5py": {"flowfile"},
    "OpenEXR": {"flowfile", "openexr"},
    "ray": {"batch"},
    "PIL": {"carry"},
    "onnx": {"nets"},
    "onnxruntime": {"nets"},
}
"""The only modules that may import these packages."""

SLOW = {"torch", "numpy", "cv2"}
LIGHT = {
    "flowcli",
    "__main__",
    "errors",
    "types",
    "environment",
    "atomic",
    "private",
    "once",
    "regular",
    "renames",
    "inputs",
    "matching",
    "pages",
    "headers",
    "pipeline",
    "sequences",
    "targets",
    "output",
    "api",
    "options",
    "run",
    "doctor",
    "batch",
    "carry.__init__",
    "carry.api",
    "carry.given",
    "carry.naming",
    "carry.networks",
    "carry.run",
    "cli",
    "engine.__init__",
    "engine.schedule",
    "evaluation.__init__",
    "evaluation.options",
    "interpolation.__init__",
    "interpolation.api",
    "interpolation.options",
    "interpolation.run",
    "interpolation.sound",
    "models.__init__",
    "models.flavours",
    "models.flow.__init__",
    "models.flow.published",
    "models.frame.__init__",
    "models.frame.published",
    "motion.__init__",
    "motion.tables",
    "nets.__init__",
    "nets.convention",
    "nets.spec",
    "train.__init__",
    "train.options",
    "weights.__init__",
    "weights.entries",
    "weights.fetch",
    "weights.known",
    "weights.files",
}
"""Modules and whole packages that `flowcli --help` loads: they import SLOW packages inside functions only."""


def unit(module: str) -> str:
    """The name that LAYERS has for a module: "video" for flowcli.video.sinks, "flowcli" for the package itself."""
    return module.split(".")[1] if "." in module else module


def is_light(module: str) -> bool:
    name = module.removeprefix("flowcli.")
    packages = itertools.accumulate(name.split("."), "{}.{}".format)
    return not LIGHT.isdisjoint((*packages, f"{name}.__init__"))


def imported(tree: ast.AST, modules: set[str], start: bool = True) -> Iterator[tuple[str, bool]]:
    """Each imported module, and whether it is imported when the program starts."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, start) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parent = "." * node.level + (node.module or "")
            names = (f"{parent}.{alias.name}" for alias in node.names)
            yield from ((name if name in modules else parent, start) for name in names)
        else:
            checking = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
            inside = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from imported(node, modules, start and not checking and not inside)


def violations(root: Path) -> list[str]:
    """Violations of the rules in root/flowcli, one line each."""
    paths = {".".join(path.relative_to(root).with_suffix("").parts): path for path in root.glob("flowcli/**/*.py")}
    paths = {name.removesuffix(".__init__"): path for name, path in paths.items()}
    graph: dict[str, set[str]] = {}
    found = [f"{module} is in no layer" for module in sorted(paths) if unit(module) not in RANK]
    for module, path in sorted(paths.items()):
        here = unit(module)
        graph[module] = set()
        for name, at_start in imported(ast.parse(path.read_text(encoding="utf-8")), set(paths)):
            package = name.split(".")[0]
            if package == "":
                found.append(f"{module} imports by a relative name")
            elif here not in OWNERS.get(package, {here}):
                found.append(f"{module} imports {package}, which is for {' and '.join(sorted(OWNERS[package]))}")
            elif is_light(module) and at_start and (package in SLOW or (package == "flowcli" and not is_light(name))):
                found.append(f"{module} imports {name} at its start, which is slow")
            if package != "flowcli":
                continue
            if unit(name) != here and RANK.get(unit(name), 0) >= RANK.get(here, 0):
                found.append(f"{module} imports {name}, which is not below it")
            if at_start:
                graph[module].add(name)
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        found.append(f"cycle: {' <- '.join(error.args[1])}")
    return list(dict.fromkeys(found))


def test_the_layers_hold(root: Path) -> None:
    assert violations(root) == []


def test_the_page_on_architecture_has_these_layers(root: Path) -> None:
    page = (root / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = page.partition("| modules | what they do |\n| --- | --- |\n")[2].partition("\n\n")[0]
    rows = [re.findall(r"`(\w+)`", row.split("|")[1]) for row in table.splitlines()]
    assert rows == [line.split() for line in LAYERS.split("\n") if line.strip()]


def test_no_test_module_imports_another(root: Path) -> None:
    """Shared code lives in modules without tests; programs in strings are checked too."""
    imports = re.compile(r"^(?:from|import) tests\b.*\btest_\w+", re.MULTILINE)
    paths = root.glob("tests/**/*.py")
    assert [found for path in paths for found in imports.findall(path.read_text(encoding="utf-8"))] == []


def plant(root: Path, **texts: str) -> None:
    names = ["__init__", "types", "metrics", "api", "engine/__init__", "models/__init__", "video/__init__"]
    names += ["engine/engine", "models/flow/__init__", "models/flow/spynet", "weights/__init__"]
    for name, text in {**dict.fromkeys(names, ""), **texts}.items():
        path = root / "flowcli" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    ("file", "text", "expected"),
    [
        ("geometry", "import flowcli.engine", "imports flowcli.engine, which is not below it"),
        ("geometry", "from flowcli import api", "imports flowcli.api, which is not below it"),
        ("metrics", "def f():\n import flowcli.api", "imports flowcli.api, which is not below it"),
        ("geometry", "from .types import Frame", "imports by a relative name"),
        ("geometry", "def f():\n import cv2", "imports cv2, which is for opencv"),
        ("engine/engine", "import rich.progress", "imports rich, which is for cli"),
        ("types", "import numpy as np", "imports numpy at its start, which is slow"),
        ("cli/run", "try:\n import torch.nn\nexcept X: pass", "imports torch.nn at its start, which is slow"),
        ("cli/run", "from flowcli.engine import engine", "imports flowcli.engine.engine at its start, which is slow"),
        (
            "weights/entries",
            "from flowcli.models.flow import spynet",
            "imports flowcli.models.flow.spynet at its start, which is slow",
        ),
        ("helper", "", "is in no layer"),
    ],
)
def test_a_planted_violation_is_found(tmp_path: Path, file: str, text: str, expected: str) -> None:
    plant(tmp_path, **{file: text})
    assert violations(tmp_path) == [f"flowcli.{file.replace('/', '.')} {expected}"]


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("engine/engine", "import torch\nfrom flowcli.models.flow import spynet"),
        ("models/flow/pwcnet", "from flowcli.models.flow import spynet"),
        ("models/flow/spynet", "from flowcli.models import names"),
        ("types", "if TYPE_CHECKING:\n import torch\ndef f():\n import numpy"),
        ("weights/entries", "from flowcli.models import names"),
        ("weights/loading", "import torch"),
    ],
)
def test_what_is_allowed_is_not_found(tmp_path: Path, file: str, text: str) -> None:
    plant(tmp_path, **{file: text})
    assert violations(tmp_path) == []


def test_a_planted_cycle_is_found(tmp_path: Path) -> None:
    plant(tmp_path, **{"video/a": "from flowcli.video import b", "video/b": "from flowcli.video.a import f"})
    (found,) = violations(tmp_path)
    assert set(found.removeprefix("cycle: ").split(" <- ")) == {"flowcli.video.a", "flowcli.video.b"}
