"""Contents of wheel, sdist and editable install; CI runs the command of the README."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from configparser import ConfigParser
from email import message_from_bytes
from pathlib import Path

import pytest

import flowcli

SOURCES = ("pyproject.toml", "setup.cfg", "MANIFEST.in", "README.md", "LICENSE", "flowcli", "weights", "tests")


def build(tree: Path, kind: str, out: Path) -> Path:
    """The distribution that setuptools makes of `tree`, as pip does. kind: wheel, sdist or editable."""
    out.mkdir(exist_ok=True)
    code = f"import sys; from setuptools import build_meta; build_meta.build_{kind}(sys.argv[1])"
    subprocess.run([sys.executable, "-c", code, str(out)], cwd=tree, check=True, capture_output=True, timeout=120)
    (made,) = out.iterdir()
    return made


def packed(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


def expected(root: Path) -> set[str]:
    """Every source and every file of weights; nothing that was compiled, no test."""
    kinds = (".py", ".h", ".cpp", ".cu", ".typed", ".html", ".css", ".js")
    code = {str(path.relative_to(root)) for path in root.glob("flowcli/**/*") if path.suffix in kinds}
    weights = [*root.glob("weights/*.safetensors"), *root.glob("weights/*.toml"), root / "weights/__init__.py"]
    return {Path(name).as_posix() for name in code} | {f"flowcli/_weights/{path.name}" for path in weights}


@pytest.fixture(scope="module")
def tree(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sources, in which something compiled lies about as after a build in place."""
    tree = tmp_path_factory.mktemp("sources") / "flowcli-tree"
    tree.mkdir()
    for name in SOURCES:
        if (root / name).is_dir():
            shutil.copytree(root / name, tree / name, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
        else:
            shutil.copy(root / name, tree / name)
    for name in ("flowcli/ops/correlation.so", "flowcli/ops/correlation.o", "flowcli/cli/main.pyc"):
        (tree / name).write_bytes(b"compiled")
    return tree


@pytest.fixture(scope="module")
def wheel(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tree, "wheel", tmp_path_factory.mktemp("wheel"))


def test_every_package_is_listed(root: Path) -> None:
    setup = ConfigParser()
    setup.read(root / "setup.cfg", encoding="utf-8")
    folders = [path.parent.relative_to(root) for path in root.glob("flowcli/**/__init__.py")]
    assert setup["options"]["packages"].split() == sorted(
        ["flowcli._weights", *(".".join(folder.parts) for folder in folders)]
    )


@pytest.mark.slow
def test_wheel_holds_the_sources_and_the_weights_and_nothing_else(root: Path, wheel: Path) -> None:
    assert packed(wheel) == expected(root)
    assert {"flowcli/_weights/models.toml", "flowcli/_weights/rpwc.safetensors"} <= packed(wheel)
    assert {f"flowcli/ops/correlation.{kind}" for kind in ("h", "cpp", "cu")} <= packed(wheel)


@pytest.mark.slow
def test_wheel_is_for_every_machine(wheel: Path) -> None:
    assert wheel.name == "flowcli-0.1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        metadata = message_from_bytes(archive.read("flowcli-0.1.0.dist-info/METADATA"))
        commands = archive.read("flowcli-0.1.0.dist-info/entry_points.txt").decode()
        licence = archive.read("flowcli-0.1.0.dist-info/licenses/LICENSE").decode()
    assert metadata["License-Expression"] == "MIT"
    assert "The flowcli authors" in licence
    assert commands.split("\n")[:2] == ["[console_scripts]", "flowcli = flowcli.cli.main:main"]


@pytest.mark.slow
def test_sdist_makes_the_same_wheel_and_holds_no_test(tree: Path, wheel: Path, tmp_path: Path) -> None:
    with tarfile.open(build(tree, "sdist", tmp_path / "sdist")) as archive:
        archive.extractall(tmp_path, filter="data")
    unpacked = tmp_path / "flowcli-0.1.0"
    files = {path.relative_to(unpacked) for path in unpacked.rglob("*") if path.is_file()}
    assert not [path for path in files if path.parts[0] == "tests" or path.suffix in {".so", ".o", ".pyc"}]
    assert packed(build(unpacked, "wheel", tmp_path / "wheel")) == packed(wheel)


@pytest.mark.slow
def test_editable_install_finds_the_weights(tree: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(build(tree, "editable", tmp_path / "wheel")) as archive:
        archive.extractall(tmp_path / "site")
    code = (
        "import site, sys; site.addsitedir(sys.argv[1])\n"
        "import flowcli, flowcli._weights\n"
        "from importlib.resources import files\n"
        "print(flowcli.__file__)\n"
        "print(files('flowcli._weights') / 'models.toml')\n"
    )
    # -I: neither the current folder nor PYTHONPATH; -S: no site-packages, which may hold another flowcli.
    done = subprocess.run(
        [sys.executable, "-IS", "-c", code, str(tmp_path / "site")],
        cwd=tmp_path, check=True, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.stdout.splitlines() == [str(tree / "flowcli/__init__.py"), str(tree / "weights/models.toml")]


def test_versions_agree(root: Path) -> None:
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == flowcli.__version__
    assert "torch==2.13.0" in (root / "constraints.txt").read_text(encoding="utf-8").splitlines()


ci = pytest.mark.skipif(shutil.which("bash") is None or os.name == "nt", reason="needs bash and POSIX paths")


def run_ci(root: Path, tmp_path: Path, readme: str) -> subprocess.CompletedProcess[str]:
    (tmp_path / ".ci").mkdir()
    shutil.copy(root / ".ci/run", tmp_path / ".ci/run")
    (tmp_path / "README.md").write_text(readme, encoding="utf-8")
    python = tmp_path / "bin" / "python3"
    python.parent.mkdir()
    # On the path there must be a python3 that is this one: CI calls it so.
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n', encoding="utf-8")
    python.chmod(0o755)
    environment = {**os.environ, "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}"}
    return subprocess.run(
        [tmp_path / ".ci/run"], cwd="/", env=environment, capture_output=True, text=True, timeout=120
    )  # fmt: skip


README = r"""
```sh
touch wrong
```

<!-- tests -->
```sh
python -c 'import sys; print(sys.prefix)' > ran \
  && pip --version
test ! -s /dev/stdin
exit 7
touch wrong
```
```sh
touch wrong
```
"""


@pytest.mark.slow
@ci
def test_ci_runs_the_marked_block_in_a_fresh_environment(root: Path, tmp_path: Path) -> None:
    done = run_ci(root, tmp_path, README)
    assert done.returncode == 7, done.stderr
    assert not (tmp_path / "wrong").exists()
    environment = Path((tmp_path / "ran").read_text(encoding="utf-8").strip())
    assert environment != Path(sys.prefix)
    assert f"from {environment}" in done.stdout
    assert not environment.exists()


@ci
def test_ci_without_a_command_fails(root: Path, tmp_path: Path) -> None:
    done = run_ci(root, tmp_path, "```sh\ntouch wrong\n```\n")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "error: README.md has no block after <!-- tests -->\n"


def test_the_readme_has_the_block_that_ci_runs(root: Path) -> None:
    _, _, rest = (root / "README.md").read_text(encoding="utf-8").partition("\n<!-- tests -->\n```sh\n")
    command = rest.partition("\n```")[0]
    for part in ("pip install -c constraints.txt -e '.[dev]'", "ruff check", "mypy", "pytest"):
        assert part in command
