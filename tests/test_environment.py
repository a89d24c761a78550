"""What children get: nothing of what importing OpenCV does to the environment, and no library of the current folder."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from flowcli import environment
from flowcli.video import ffmpeg_path
from tests.video import clips

LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="LD_LIBRARY_PATH is Linux's")


def test_empty_entries_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LD_LIBRARY_PATH", ":/opt/a::/opt/b:")
    monkeypatch.setenv("LIBRARY_PATH", ":")
    monkeypatch.setenv("PATH", "/bin:.")
    monkeypatch.setenv("OTHER", "a::b:")
    given = environment.for_children()
    assert given["LD_LIBRARY_PATH"] == "/opt/a:/opt/b"
    assert "LIBRARY_PATH" not in given
    assert given["PATH"] == "/bin:.", "what is named is meant"
    assert given["OTHER"] == "a::b:"
    assert os.environ["LD_LIBRARY_PATH"] == ":/opt/a::/opt/b:"


def test_changed_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LD_LIBRARY_PATH", "/opt/a:")
    monkeypatch.delenv("CPATH", raising=False)
    before = dict(os.environ)
    with environment.changed({"NEW": "1", "HOME": "/home"}):
        assert (os.environ["LD_LIBRARY_PATH"], os.environ["NEW"], os.environ["HOME"]) == ("/opt/a", "1", "/home")
        os.environ["CPATH"] = "/usr/share:"
        os.environ["LD_LIBRARY_PATH"] = "/lib64:"
    assert dict(os.environ) == before


@pytest.mark.slow
@pytest.mark.parametrize("start", [None, "/opt/a"])
def test_importing_our_opencv_changes_no_list_of_folders(start: str | None) -> None:
    program = "import json, os, flowcli.pictures, flowcli.classic; print(json.dumps(dict(os.environ)))"
    given = {name: value for name, value in os.environ.items() if name != "LD_LIBRARY_PATH"}
    given |= {} if start is None else {"LD_LIBRARY_PATH": start}
    done = subprocess.run([sys.executable, "-c", program], env=given, capture_output=True, text=True, check=True)
    after = json.loads(done.stdout)
    assert {name: after.get(name) for name in environment.FOLDERS} == {
        name: given.get(name) for name in environment.FOLDERS
    }


_PLANTED = 'void __attribute__((constructor)) ran(void) {{ fclose(fopen("{}", "w")); }}'
_LOGS = '#!/bin/sh\nenv | grep "^LD_LIBRARY_PATH=" >> "{log}"; echo "$0" >> "{log}"\nexec "{program}" "$@"\n'
_USES = """
import sys
from pathlib import Path
{before}
import flowcli
from flowcli.cli.main import main
{after}
sys.exit(main(sys.argv[1:]))
"""
IMPORTS = {"the command": ("", ""), "OpenCV first": ("import cv2", ""), "OpenCV after us": ("", "import cv2")}


@pytest.mark.slow
@LINUX
@pytest.mark.parametrize("order", IMPORTS)
def test_a_library_beside_the_video_does_not_run(root: Path, table: Path, tmp_path: Path, order: str) -> None:
    """In ffmpeg, which decodes and encodes, and in the compiler: libdl.so.2 is one that ffmpeg needs."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler to plant a library")
    ran, log = tmp_path / "ran", tmp_path / "log"
    here = tmp_path / "here"
    here.mkdir()
    source = tmp_path / "planted.c"
    source.write_text("#include <stdio.h>\n" + _PLANTED.format(ran))
    for name in ("libdl.so.2", "librt.so.1", "libz.so.1"):
        subprocess.run([compiler, "-shared", "-fPIC", "-o", here / name, source], check=True)
    clips.lavfi(here / "a.mkv", "testsrc2=size=64x48:duration=0.3:rate=10", "-c:v", "png")
    wrapped = {}
    # A compiler that fails at once: what it gets is what counts.
    for name, program in (("FLOWCLI_FFMPEG", ffmpeg_path()), ("CXX", shutil.which("false"))):
        script = tmp_path / name.lower()
        script.write_text(_LOGS.format(log=log, program=program))
        script.chmod(0o755)
        wrapped[name] = str(script)
    given = {name: value for name, value in os.environ.items() if name != "LD_LIBRARY_PATH"}
    given |= wrapped | {"XDG_CACHE_HOME": str(tmp_path / "cache"), "PYTHONPATH": str(root), "FLOWCLI_NATIVE": "wait"}
    before, after = IMPORTS[order]
    program = _USES.format(before=before, after=after)
    words = ["estimate", "a.mkv", "-o", "b.mp4", "--model", "dis"]
    subprocess.run([sys.executable, "-c", program, *words], cwd=here, env=given, check=True, timeout=100)
    assert (here / "b.mp4").stat().st_size
    lines = log.read_text().splitlines()
    assert lines.count(wrapped["FLOWCLI_FFMPEG"]) >= 2
    assert wrapped["CXX"] in lines
    assert not ran.exists()
    paths = {line.partition("=")[2] for line in lines if line.startswith("LD_LIBRARY_PATH=")}
    assert not any("" in path.split(":") for path in paths)
    if order == "the command":
        assert paths == set()
    # The trap works: with what importing OpenCV leaves in the environment, it runs.
    subprocess.run(
        [ffmpeg_path(), "-version"], cwd=here, env={**given, "LD_LIBRARY_PATH": "/nowhere:"}, capture_output=True
    )
    assert ran.exists()


@pytest.mark.parametrize("chosen", [{}, {"GOMP_SPINCOUNT": "7"}, {"OMP_WAIT_POLICY": "active"}, {"KMP_BLOCKTIME": "9"}])
def test_threads_sleep_soon_unless_the_user_has_chosen(monkeypatch: pytest.MonkeyPatch, chosen: dict[str, str]) -> None:
    names = (*environment.SPINS, "OMP_WAIT_POLICY")
    for name in names:
        monkeypatch.delenv(name, raising=False)
    for name, value in chosen.items():
        monkeypatch.setenv(name, value)
    environment.share_cores()
    assert {name: os.environ[name] for name in names if name in os.environ} == (chosen or environment.SPINS)
    for name in names:
        os.environ.pop(name, None)


@pytest.mark.slow
@LINUX
@pytest.mark.parametrize("command", ["estimate", "train", "batch", "bench"])
def test_the_command_says_so_before_torch_is_there(root: Path, tmp_path: Path, command: str) -> None:
    """OpenMP reads it once, when it is loaded with torch."""
    program = """
import json, os, sys
os.environ.pop("OMP_WAIT_POLICY", None)

class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            print(json.dumps(os.environ.get("GOMP_SPINCOUNT")), flush=True)
            os._exit(7)

sys.meta_path.insert(0, Watch())
from flowcli.cli.main import main
main(sys.argv[1:])
"""
    clips.lavfi(tmp_path / "a.mkv", "testsrc2=size=64x48:duration=0.3:rate=10", "-c:v", "png")
    words = {
        "estimate": ["a.mkv", "-o", "b.mkv"],
        "train": ["runs", "--steps", "1"],
        "batch": ["a.mkv", "-o", "out"],
        "bench": ["network"],
    }
    given = {name: value for name, value in os.environ.items() if name not in (*environment.SPINS, "OMP_WAIT_POLICY")}
    given["PYTHONPATH"] = str(root)
    start = [sys.executable, "-c", program, command, *words[command]]
    done = subprocess.run(start, cwd=tmp_path, env=given, capture_output=True, text=True, timeout=60)
    assert done.returncode == 7, done.stderr
    assert json.loads(done.stdout) == environment.SPINS["GOMP_SPINCOUNT"]
