"""A headless Chromium, told what to do by the DevTools protocol over a pipe."""

from __future__ import annotations

import base64
import fcntl
import itertools
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
_WAIT = 60.0
"""Seconds for anything to happen: the machine may be slow."""


class Page:
    """A tab. `outside`: the addresses that it wanted from elsewhere; `said`: its errors and messages."""

    def __init__(self, reads: int, writes: int) -> None:
        self._in = os.fdopen(reads, "rb", buffering=0)
        self._out = os.fdopen(writes, "wb", buffering=0)
        self._numbers = itertools.count(1)
        self._rest = b""
        self._session = ""
        self.outside: list[str] = []
        self.said: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """What the browser answers."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        self._out.write(json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == number:
                assert "error" not in answer, answer
                found: dict[str, Any] = answer["result"]
                return found

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            part = self._in.read(1 << 20)
            assert part, "the browser has ended"
            self._rest += part
        text, _, self._rest = self._rest.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        parameters = message.get("params", {})
        if message.get("method") == "Network.requestWillBeSent":
            address = parameters["request"]["url"]
            if not address.startswith(("file:", "data:", "blob:")):
                self.outside.append(address)
        elif message.get("method") in ("Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled"):
            self.said.append(json.dumps(parameters))
        return message

    def open(self, path: Path, width: int = 900, height: int = 900, *, dark: bool = False, phone: bool = False) -> None:
        """Opens the file in a window of that size, in pixels of CSS."""
        scale = 2 if phone else 1
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=phone
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Page.navigate", url=path.resolve().as_uri())
        self.until("typeof shown !== 'undefined' && shown.number === 0")

    def evaluate(self, script: str) -> Any:
        """The value of an expression, or of its promise."""
        answer = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def until(self, condition: str) -> None:
        """Waits until the expression is true."""
        end = time.monotonic() + _WAIT
        while not self.evaluate(condition):
            assert time.monotonic() < end, (condition, self.said)
            time.sleep(0.05)

    def move(self, x: float, y: float, kind: str = "mouseMoved", **more: Any) -> None:
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)

    def click(self, x: float, y: float) -> None:
        self.move(x, y)
        for kind in ("mousePressed", "mouseReleased"):
            self.move(x, y, kind, button="left", clickCount=1)

    def press(self, key: str, modifiers: int = 0) -> None:
        text = {"text": key} if len(key) == 1 else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, modifiers=modifiers, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key, modifiers=modifiers)

    def box(self, selector: str) -> tuple[float, float, float, float]:
        """Left, top, width and height of an element in the window."""
        found = self.evaluate(
            f"(({{left, top, width, height}}) => [left, top, width, height])"
            f"(document.querySelector({json.dumps(selector)}).getBoundingClientRect())"
        )
        left, top, width, height = map(float, found)
        return left, top, width, height

    def text(self, selector: str) -> str:
        return str(self.evaluate(f"document.querySelector({json.dumps(selector)}).innerText"))

    def picture(self) -> bytes:
        """What the window shows, as PNG."""
        return base64.b64decode(self.call("Page.captureScreenshot", captureBeyondViewport=False)["data"])


@contextmanager
def chromium(folder: Path) -> Iterator[Page]:
    """A page in a browser whose profile is in the folder; without a browser the test is skipped."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip(f"needs one of {', '.join(NAMES)}")
    pipes = [os.pipe(), os.pipe()]
    # Far from 3 and 4, as which the browser gets two of them.
    (their_in, our_out), (our_in, their_out) = (
        tuple(fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 50) for end in pipe) for pipe in pipes
    )
    for end in itertools.chain(*pipes):
        os.close(end)

    def hand_over() -> None:
        os.dup2(their_in, 3)
        os.dup2(their_out, 4)

    options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
    command = [program, *options, f"--user-data-dir={folder}", "--remote-debugging-pipe", "about:blank"]
    with (folder.parent / "browser.log").open("wb") as log:
        process = subprocess.Popen(
            command, pass_fds=(3, 4), preexec_fn=hand_over, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    os.close(their_in)
    os.close(their_out)
    page = None
    try:
        page = Page(our_in, our_out)
        yield page
    finally:
        with suppress(OSError, AssertionError):
            if page is not None:
                page._session = ""
                page.call("Browser.close")
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if page is not None:
            page._in.close()
            page._out.close()
