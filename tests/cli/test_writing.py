from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from flowcli.cli.progress import Unit, counted
from flowcli.cli.writing import described, told
from flowcli.output.naming import Output
from flowcli.output.opening import Writer
from flowcli.pipeline import Stopwatch
from flowcli.types import Frame, StreamInfo

INFO = StreamInfo(48, 64, Fraction(25))


class Nothing:
    def write(self, item: Frame) -> None: ...
    def close(self) -> None: ...
    def abort(self) -> None: ...


def writer(output: Output, **options: Any) -> Writer[Frame]:
    return Writer(output, Nothing(), Stopwatch(), **options)


@pytest.mark.parametrize(
    ("count", "unit", "text"),
    [(0, "flow", "0 flows"), (1, "flow", "1 flow"), (1, "frame", "1 frame"), (2, "frame", "2 frames")],
)
def test_what_is_counted(count: int, unit: Unit, text: str) -> None:
    assert counted(count, unit) == text


def test_what_is_said_of_frames_and_of_flow() -> None:
    video, folder = (
        writer(Output(Path("a.mp4"), "frames", "mp4")),
        writer(Output(Path("b"), "frames", "png", folder=True)),
    )
    assert (
        told([video, folder, folder], 50, "frame", INFO, 2.0)
        == "wrote a.mp4, b/: 50 frames, 64x48, 2.0 s (25.0 per second)"
    )
    assert told([video], 1, "flow", INFO, 0.5) == "wrote a.mp4: 1 flow, 64x48, 0.5 s (2.0 per second)"


def test_outputs_in_json() -> None:
    described_frames = {"out": "b/", "what": "frames", "format": "png", "backward": False, "scale": None}
    assert described(writer(Output(Path("b"), "frames", "png", folder=True))) == described_frames
    colours = writer(Output(None, "color", "y4m", backward=True), scale=lambda: (1.23456, 2.0))
    assert described(colours) == {
        "out": "-",
        "what": "color",
        "format": "y4m",
        "backward": True,
        "scale": [1.2346, 2.0],
    }
