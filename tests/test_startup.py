"""Help, usage errors and lists do not import heavy modules."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import flowcli

HEAVY = ("torch", "numpy", "cv2", "ffmpeg", "imageio_ffmpeg", "safetensors", "rich")

_PROBE = """
import json, sys
from pathlib import Path
from flowcli.weights import entries
from flowcli.cli.main import main
entries.folder = lambda: Path(sys.argv[2])
code = main(sys.argv[3:])
print(json.dumps([code, [name for name in json.loads(sys.argv[1]) if name in sys.modules]]), file=sys.stderr)
"""


def probe(root: Path, table: Path, *arguments: str) -> tuple[int, list[str]]:
    """Exit code of a command line, and the heavy modules that it imported."""
    command = [sys.executable, "-c", _PROBE, json.dumps(HEAVY), str(table), *arguments]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True, timeout=60)
    code, modules = json.loads(done.stderr.splitlines()[-1])
    return code, modules


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ("--help", 0),
        ("--version", 0),
        ("", 2),
        ("estimat", 2),
        ("estimate --help", 0),
        ("interpolate --help", 0),
        ("interpolate in.mp4 --fps 60", 2),
        ("batch --help", 0),
        ("convert --help", 0),
        ("convert", 2),
        ("convert in", 2),
        ("convert in --out flow.mp4 --as warp", 2),
        ("convert in --out flow.bin", 1),
        ("stats --help", 0),
        ("models --help", 0),
        ("doctor --help", 0),
        ("bench --help", 0),
        ("bench --size 0x0", 2),
        ("bench --model rpcw", 1),
        ("estimate", 2),
        ("estimate in.mp4", 2),
        ("estimate in.mp4 --bot", 2),
        ("estimate in.mp4 --out flow.mp4 --as flo", 2),
        ("estimate in.mp4 --out flow.bin", 1),
        ("stats in.mp4 --out rows.bin", 1),
        ("estimate in.mp4 --out flow.mp4 --stop 0", 2),
        ("estimate in.mp4 --out flow.mp4 --precision int4", 2),
        ("estimate in.mp4 --out no/flow.mp4", 1),
        ("estimate in.mp4 --out flow.mp4 --model rpcw", 1),
        ("batch in.mp4", 2),
        ("batch in.mp4 --out flow --shard 3/2", 2),
        ("batch in.mp4 --out flow", 1),
    ],
)
def test_answers_without_heavy_imports(root: Path, table: Path, arguments: str, code: int) -> None:
    assert probe(root, table, *arguments.split()) == (code, [])


@pytest.mark.slow
def test_completes_without_heavy_imports(root: Path, table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_FLOWCLI_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "flowcli estimate --model p")
    monkeypatch.setenv("COMP_CWORD", "3")
    assert probe(root, table) == (0, [])


@pytest.mark.slow
def test_models_without_heavy_imports(root: Path, table: Path) -> None:
    assert probe(root, table, "models") == (0, ["rich"])  # For the table.
    assert probe(root, table, "models", "--json") == (0, [])
    assert probe(root, table, "models", "info", "rpwc") == (0, [])


def test_missing_input_does_not_wait_for_torch(root: Path, table: Path, tmp_path: Path) -> None:
    code, modules = probe(root, table, "estimate", str(tmp_path / "no.mp4"), "--out", str(tmp_path / "flow.mp4"))
    assert code == 1
    assert "torch" not in modules


def test_package_is_lazy(root: Path) -> None:
    program = "import sys, flowcli; dir(flowcli); print(sorted({'torch', 'numpy', 'cv2'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_public_names_are_there() -> None:
    for name in flowcli._HOMES:
        assert getattr(flowcli, name).__name__ == name
        assert name in dir(flowcli)
    with pytest.raises(AttributeError, match=r"^module 'flowcli' has no attribute 'estimat'$"):
        _ = flowcli.estimat


def test_version_is_that_of_the_package(root: Path) -> None:
    assert flowcli.__version__ == tomllib.loads((root / "pyproject.toml").read_text())["project"]["version"]
