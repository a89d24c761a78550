"""The ffmpeg program: where it is, and child processes of it that never outlive the run."""

from __future__ import annotations

import atexit
import os
import re
import shutil
import subprocess
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

from flowcli.environment import for_children
from flowcli.errors import FfmpegError

_HINT = "reinstall imageio-ffmpeg, or name another program in FLOWCLI_FFMPEG"
_TALK = ("-hide_banner", "-nostdin", "-nostats", "-loglevel", "repeat+level+info")
# "[h264 @ 0x55771277ab80] [error] error while decoding MB 3 8": who, how bad, what.
_LINE = re.compile(r"((?:\[[^\]]* @ 0x[0-9a-f]+\] )*)\[(info|warning|error|fatal|panic)\] (.*)")
# Lines that only repeat what the line before them said.
_ECHO = re.compile(r"Task finished|Terminating thread|Error opening (input|output)")


def ffmpeg_path() -> Path:
    """The program that the imageio-ffmpeg package carries, or the one that FLOWCLI_FFMPEG names. Raises FfmpegError."""
    if other := os.environ.get("FLOWCLI_FFMPEG"):
        found = shutil.which(other, path=for_children().get("PATH"))
        if found is None:
            raise FfmpegError(f"FLOWCLI_FFMPEG is not a program: {other}", "give the full path of an ffmpeg program")
        return Path(found)
    package = find_spec("imageio_ffmpeg")
    for folder in package.submodule_search_locations or () if package else ():
        for path in sorted(Path(folder, "binaries").glob("ffmpeg-*")):
            return path
    raise FfmpegError("no ffmpeg program found", _HINT)


@cache
def ffmpeg_version(path: Path) -> str:
    """The version, such as "7.0.2-static" or "n9.0.2-17-g2a571b6068". Raises FfmpegError if the program states none."""
    try:
        done = subprocess.run(
            [path, "-version"], stdin=subprocess.DEVNULL, capture_output=True, check=False, env=for_children()
        )
    except OSError as error:
        raise FfmpegError(f"ffmpeg does not start: {path}: {error.strerror}", _HINT) from error
    version = re.match(rb"ffmpeg version (\S+)", done.stdout)
    if version is None:
        raise FfmpegError(f"this is not ffmpeg: {path}", _HINT)
    return version[1].decode(errors="replace")


def every_frame() -> dict[str, str]:
    """The output option that passes on each frame once, with its own time."""
    version = re.match(r"n?(\d+)\.(\d+)", ffmpeg_version(ffmpeg_path()))
    # A build from the repository (N-112233-g...) counts as new.
    old = version is not None and (int(version[1]), int(version[2])) < (5, 1)
    return {"vsync" if old else "fps_mode": "passthrough"}


def file_url(path: str | Path) -> str | bytes:
    """The name that makes ffmpeg open this very file, whatever its name looks like."""
    url = f"file:{os.path.abspath(path)}"
    try:
        url.encode()
    except UnicodeEncodeError:
        # ffmpeg-python hashes every str as UTF-8, which a name on disk need not be.
        return os.fsencode(url)
    return url


class Child:
    """A running ffmpeg process, which ends at the latest when this program does.

    command: from ffmpeg-python. stdin, stdout: as for subprocess.Popen. watch: called with (who, level, text) for each
    line on stderr, in a thread of its own.
    """

    def __init__(
        self,
        command: Any,
        stdin: int | IO[bytes] | None = subprocess.DEVNULL,
        stdout: int | IO[bytes] | None = subprocess.DEVNULL,
        watch: Callable[[str, str, str], None] | None = None,
    ) -> None:
        path = ffmpeg_path()
        arguments = command.global_args(*_TALK).compile(cmd=str(path))
        self.complaints: deque[str] = deque(maxlen=20)
        """Its last warnings and errors."""
        self._first: str | None = None
        self._watch = watch
        self._closing = threading.Lock()
        try:
            # A session of its own: Ctrl-C in the terminal reaches this program alone, which then ends its children.
            self.process = subprocess.Popen(
                arguments,
                stdin=stdin,
                stdout=stdout,
                stderr=subprocess.PIPE,
                start_new_session=True,
                env=for_children(),
            )
        except OSError as error:
            raise FfmpegError(f"ffmpeg does not start: {path}: {error.strerror}", _HINT) from error
        _running.add(self)
        self._listener = threading.Thread(target=self._listen, name="ffmpeg stderr", daemon=True)
        self._listener.start()

    def wait(self) -> int:
        """The exit status, once the last line on stderr is read; negative: the signal that killed the process."""
        self._listener.join()
        status = self.process.wait()
        self._close()
        return status

    def stop(self) -> None:
        """Ends the process at once; does nothing if it has ended already."""
        self.process.kill()
        self.wait()

    def cause(self) -> str:
        """Why it failed, for an error message: the signal that killed it, or its first complaint.

        Those that follow tell what came of it; a warning counts only if there is no error.
        """
        status = self.process.poll()
        if status is not None and status < 0:
            return f"ffmpeg was killed by signal {-status}"
        if self._first is not None:
            return self._first
        return self.complaints[0] if self.complaints else f"ffmpeg ended with {status} and said nothing"

    def _listen(self) -> None:
        stderr = self.process.stderr
        assert stderr is not None
        for line in stderr:
            match = _LINE.match(line.decode(errors="replace").rstrip())
            if match is None:
                continue
            who, level, text = match.groups()
            if level != "info" and not (self.complaints and _ECHO.match(text)):
                self.complaints.append(text)
                if level != "warning" and self._first is None:
                    self._first = text
            if self._watch is not None:
                self._watch(who, level, text)

    def _close(self) -> None:
        # Of two threads that close a stream at once, one would find it half closed.
        with self._closing:
            for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
                if stream is not None:
                    with suppress(BrokenPipeError):
                        stream.close()
        _running.discard(self)


_running: set[Child] = set()


def _forget_all() -> None:
    """In a process that was forked the children are those of the one before, and nobody listens to them."""
    _running.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)


@atexit.register
def _stop_all() -> None:
    for child in list(_running):
        child.stop()
