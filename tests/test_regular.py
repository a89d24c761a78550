"""Devices and pipes in the place of files: they are refused at once, wherever a file is read."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from flowcli.regular import open_regular, read_regular
from tests.tiny import ROOT, write_pictures

WHY = "not a file but a device or a pipe"


def test_only_files_are_read(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"abc")
    (tmp_path / "link").symlink_to(file)
    assert read_regular(tmp_path / "link") == b"abc"
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    for name in ("pipe", "zero"):
        with pytest.raises(OSError, match=WHY):
            open_regular(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        open_regular(tmp_path / "none")
    with pytest.raises(IsADirectoryError):
        read_regular(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("estimate a.png a.png -o o.flo -m dis", f"cannot read a.png: {WHY}"),
        ("estimate frames -o o.mp4 -m a.safetensors", f"cannot read weights: a.safetensors: {WHY}"),
        ("models import a.pth", f"cannot read checkpoint: a.pth: {WHY}"),
        ("convert a.flo -o o.pfm", f"cannot read a.flo: {WHY}"),
        ("convert a.npy -o o/", f"cannot read a.npy: {WHY}"),
        ("interpolate frames -o o/ --times-from a.times", f"cannot read a.times: {WHY}"),
        ("estimate /dev/zero -o o.mp4 -m dis", "not a video: /dev/zero"),
    ],
)
def test_a_link_to_an_endless_device(tmp_path: Path, arguments: str, message: str) -> None:
    write_pictures(tmp_path / "frames", 2, height=40, width=50)
    for suffix in ("png", "safetensors", "pth", "flo", "npy", "times"):
        (tmp_path / f"a.{suffix}").symlink_to("/dev/zero")
    done = subprocess.run(
        [sys.executable, "-m", "flowcli", *arguments.split()],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1, done.stderr
    assert done.stderr.startswith(f"error: {message}"), done.stderr


def test_a_terminal_is_not_waited_for(tmp_path: Path) -> None:
    import pty

    from flowcli.errors import InputError
    from flowcli.video import open_source

    ours, theirs = pty.openpty()
    try:
        with pytest.raises(InputError) as caught:
            open_source(os.ttyname(theirs))
        assert caught.value.message == f"input is a terminal: {os.ttyname(theirs)}"
    finally:
        os.close(ours)
        os.close(theirs)
