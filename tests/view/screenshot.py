"""Makes the picture in docs/view.md: python -m tests.view.screenshot"""

from __future__ import annotations

import tempfile
from pathlib import Path

import cv2
import numpy as np

from flowcli.cli.main import main
from flowcli.pictures import to_jpeg
from tests.view.browser import chromium

ROOT = Path(__file__).resolve().parent.parent.parent
CHOICES = "go(12).then(() => { state.at = nearest(150, 120); drop(); setScale(9); setView('arrows'); })"


def make() -> None:
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder, "look.html")
        clip = str(ROOT / "tests/data/sample.mp4")
        assert main(["view", clip, "-o", str(page), "--model", "dis", "--versus", "farneback", "-q"]) == 0
        with chromium(Path(folder, "profile")) as browser:
            browser.open(page, 900, 900)
            browser.evaluate(CHOICES)
            browser.until("state.points[0].paths.every((path) => path.length > 8)")
            data = np.frombuffer(browser.picture(), np.uint8)
    image = cv2.imdecode(data, cv2.IMREAD_COLOR_RGB)
    assert image is not None
    (ROOT / "docs/view.jpg").write_bytes(to_jpeg(image))


if __name__ == "__main__":
    make()
