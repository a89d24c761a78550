from __future__ import annotations

import sys
import threading
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from flowcli.draw.effects import Color
from flowcli.errors import OutputError
from flowcli.output.naming import Output, plan, plan_frames
from flowcli.output.opening import open_flows, open_frames
from flowcli.output.options import FrameOptions, OutputOptions
from flowcli.pictures import read_unscaled
from flowcli.pipeline import use_threads
from flowcli.types import Direction, FlowField, FlowPair, Frame, StreamInfo, drain, open_all
from flowcli.video import Soundtrack
from tests.video import clips


@pytest.fixture(autouse=True)
def _inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("max_flow", [None, 5.0])
def test_outputs_compute_in_one_thread_each(max_flow: float | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures that wait for what comes after them (those without `max_flow`) too, whatever others compute in."""
    threads, seen = torch.get_num_threads(), []

    def draw(self: Color, pair: FlowPair) -> Frame:
        seen.append((torch.get_num_threads(), threading.current_thread() is threading.main_thread()))
        return pair.first

    monkeypatch.setattr(Color, "draw", draw)
    use_threads(3)
    try:
        _draw_one(max_flow)
        assert seen == [(1, False)]
        assert torch.get_num_threads() == 3
    finally:
        use_threads(threads)
    assert Path("a/000000.png").is_file()


def _draw_one(max_flow: float | None) -> None:
    frame = Frame(np.zeros((4, 6, 3), np.uint8), 0, Fraction(0))
    info, options = StreamInfo(4, 6, Fraction(25)), OutputOptions(("a/",), max_flow=max_flow)
    writer = open_flows(Output(Path("a"), "color", "png", folder=True), info, options, sys.stdout.buffer)
    writer.write(FlowPair(frame, frame, FlowField(torch.zeros(2, 4, 6)), at=frame))
    writer.close()


def _written(tmp_path: Path, *kinds: str, **options: Any) -> dict[str, np.ndarray]:
    """The one picture of each kind, of a square that moves 4 px to the right over a ground at rest."""
    first, second = np.full((2, 20, 24, 3), 60, np.uint8)
    first[5:11, 5:11] = second[5:11, 9:15] = 255
    forward, backward = torch.zeros(2, 20, 24), torch.zeros(2, 20, 24)
    forward[0, 5:11, 5:11], backward[0, 5:11, 9:15] = 4, -4
    frame, following = Frame(first, 0, Fraction(0)), Frame(second, 1, Fraction(1, 25))
    asked = OutputOptions(tuple(f"{kind}/" for kind in kinds), kinds, **options)
    info = StreamInfo(20, 24, Fraction(25))
    for output in plan(asked, direction="forward", pair=False):
        writer = open_flows(output, info, asked, sys.stdout.buffer)
        writer.write(FlowPair(frame, following, FlowField(forward), FlowField(backward), at=frame))
        writer.close()
    return {kind: read_unscaled(tmp_path / kind / "000000.png") for kind in kinds}


def test_an_output_is_the_same_whatever_is_beside_it(tmp_path: Path) -> None:
    made = _written(tmp_path, "warp", "occlusion")
    assert made["occlusion"].shape == (20, 24)
    hidden = made["occlusion"] == 255
    strip = np.zeros_like(hidden)
    strip[5:11, 11:15] = True
    assert hidden[7:9, 11:15].all()
    assert not (hidden & ~strip).any()
    assert (made["warp"][hidden] > 0).all(), "a ghost, since flow back in time was not asked for"


def test_drawing_options_arrive(tmp_path: Path) -> None:
    made = _written(tmp_path, "side-by-side", "overlay", max_flow=8.0, dim=1.0)
    assert made["side-by-side"].shape == (20, 48, 3)
    assert made["side-by-side"][5, 30].tolist() == [255, 127, 127], "half of full red"
    assert made["overlay"][1, 1].tolist() == [0, 0, 0]
    assert not made["overlay"][11:].any()
    assert _written(tmp_path, "trails", percentile=50.0, dim=1.0, legend=True)["trails"][11:].any(), "a legend"


def _view(direction: Direction, kind: str, pair: FlowPair) -> list[FlowPair]:
    outputs = plan(OutputOptions(("a/",), (kind,)), direction=direction, pair=False)
    return [output.view(pair) for output in outputs]


def test_what_an_output_is_shown_of_a_pair() -> None:
    first, second = (Frame(np.zeros((2, 3, 3), np.uint8), index, Fraction(index)) for index in (0, 1))
    there, back = FlowField(torch.ones(2, 2, 3)), FlowField(-torch.ones(2, 2, 3))
    pair = FlowPair(first, second, there, back, at=first)

    def shown(direction: Direction, kind: str, pair: FlowPair = pair) -> list[tuple[FlowField, FlowField | None]]:
        return [(each.forward, each.backward) for each in _view(direction, kind, pair)]

    assert shown("forward", "flo") == [(there, None)]
    assert shown("backward", "flo") == [(back, None)]
    assert shown("both", "flo") == [(there, back), (back, there)]
    assert shown("forward", "occlusion") == [(there, back)]
    assert shown("backward", "occlusion") == [(back, there)]
    # Flow that goes back in time alone is that of the pair already.
    assert shown("backward", "flo", FlowPair(second, first, back, at=first)) == [(back, None)]


INFO = StreamInfo(48, 64, Fraction(10))


def _frames(channels: int = 3, dtype: type[np.unsignedinteger] = np.uint8, count: int = 5) -> list[Frame]:
    """Pictures that are darker above and lighter below, each one more so; alpha falls from left to right."""
    scale = 257 if dtype == np.uint16 else 1
    image = np.broadcast_to(np.arange(48)[:, None, None], (48, 64, channels)).copy()
    if channels == 4:
        image[..., 3] = 255 - 2 * np.arange(64)
    lift = np.array([20, 20, 20, 0][:channels])
    return [
        Frame((scale * (image + index * lift)).astype(dtype).squeeze(), index, Fraction(index, 10))
        for index in range(count)
    ]


def _store(target: str, kind: str = "", *, info: StreamInfo = INFO, frames: list[Frame], **options: Any) -> Path:
    asked = FrameOptions((target,), (kind,) if kind else ())
    (output,) = plan_frames(asked, alpha=info.alpha, one=len(frames) == 1)
    drain(frames, [open_frames(output, info, asked, sys.stdout.buffer, **options)])
    return Path(target)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm", ".gif"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_frames_as_a_video(suffix: str, dtype: type[np.unsignedinteger]) -> None:
    deep = dtype == np.uint16
    frames = _frames(dtype=dtype)
    path = _store(f"a{suffix}", info=replace(INFO, bits=16 if deep else 8), frames=frames, comment=lambda: "made")
    assert clips.times(path) == [frame.time for frame in frames]
    found = clips.rgb(path, 48, 64)
    expected = np.stack([frame.image for frame in _frames()])
    assert np.abs(found.astype(int) - expected).mean() < 2
    if suffix != ".gif":
        assert ("yuv420p10le" in clips.banner(path)) == deep
        assert clips.comment(path) == "made"


def test_16_bits_are_more_than_8(tmp_path: Path) -> None:
    """Between two levels of 8 bits there are three more in 10."""
    ramp = np.broadcast_to(np.linspace(20_000, 22_000, 64)[None, :, None], (48, 64, 3)).astype(np.uint16)
    path = _store("a.mkv", info=replace(INFO, bits=16), frames=[Frame(ramp, 0, Fraction(0))] * 3)
    luma = clips.planes(path, "yuv420p10le", "<u2", (48, 64), (24, 32), (24, 32))[0][0]
    assert len(np.unique(luma)) > 2 * (2000 / 65535 * 219)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("suffix", [".webm", ".mov"])
def test_frames_with_alpha_as_a_video(suffix: str, dtype: type[np.unsignedinteger]) -> None:
    info = replace(INFO, alpha=True, bits=16 if dtype == np.uint16 else 8)
    path = _store(f"a{suffix}", info=info, frames=_frames(4, dtype))
    decoder = ("-c:v", "libvpx-vp9") if suffix == ".webm" else ()
    raw = clips.ffmpeg(*decoder, "-i", path, "-f", "rawvideo", "-pix_fmt", "rgba", "-")
    found = np.frombuffer(raw, np.uint8).reshape(5, 48, 64, 4).astype(int)
    assert np.abs(found[..., 3] - [frame.image[..., 3] for frame in _frames(4)]).mean() < 2


@pytest.mark.parametrize(
    ("kind", "channels", "dtype"),
    [
        ("png", 1, np.uint8),
        ("png", 3, np.uint16),
        ("png", 4, np.uint8),
        ("png", 4, np.uint16),
        ("png", 1, np.uint16),
        ("jpg", 3, np.uint8),
        ("jpg", 3, np.uint16),
        ("jpg", 1, np.uint16),
    ],
)
def test_frames_as_pictures(kind: str, channels: int, dtype: type[np.unsignedinteger]) -> None:
    frames = _frames(channels, dtype)
    folder = _store("out/", kind, info=replace(INFO, alpha=channels == 4), frames=frames)
    assert sorted(path.name for path in folder.iterdir()) == [f"{index:06d}.{kind}" for index in range(5)]
    for frame, plain in zip(frames, _frames(channels), strict=True):
        found = read_unscaled(folder / f"{frame.stem}.{kind}")
        if kind == "png":
            np.testing.assert_array_equal(found, frame.image)
        else:
            assert found.dtype == np.uint8
            assert np.abs(found.astype(int) - plain.image).max() <= 4
    one = read_unscaled(_store(f"one.{kind}", info=replace(INFO, alpha=channels == 4), frames=frames[:1]))
    assert one.shape == frames[0].image.shape


def test_pictures_that_are_written_in_a_way_of_their_own() -> None:
    folder = _store("out/", frames=_frames(), write=lambda path, image: path.write_bytes(image[:1, 0, 0].tobytes()))
    assert (folder / "000002.png").read_bytes() == b"\x28"


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_frames_on_stdout(tmp_path: Path, dtype: type[np.unsignedinteger]) -> None:
    deep = dtype == np.uint16
    (output,) = plan_frames(FrameOptions(("-",)))
    with (tmp_path / "a.y4m").open("wb") as file:
        info = replace(INFO, bits=16 if deep else 8)
        drain(_frames(dtype=dtype), [open_frames(output, info, FrameOptions(), file)])
    assert ("yuv444p10le" in clips.banner(tmp_path / "a.y4m")) == deep
    found = clips.rgb(tmp_path / "a.y4m", 48, 64)
    assert np.abs(found.astype(int) - np.stack([frame.image for frame in _frames()])).max() <= 2


def test_frames_with_sound(tmp_path: Path) -> None:
    tone = ("-f", "lavfi", "-i", "sine=duration=1", "-c:a", "aac")
    source = clips.lavfi(tmp_path / "in.mp4", "testsrc=size=64x48:rate=10:duration=1", *tone, "-c:v", "libx264")
    path = _store("a.mp4", frames=_frames(), sound=Soundtrack(source))
    assert "Audio: aac" in clips.banner(path)


def test_a_frame_that_is_none_of_those_announced(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^frame 0 is uint16, the video uint8$"):
        _store("a.mp4", frames=_frames(dtype=np.uint16))
    with pytest.raises(ValueError, match=r"^frame 0 is uint8, the video uint16$"):
        _store("a.mp4", info=replace(INFO, bits=16), frames=_frames())
    with pytest.raises(ValueError, match=r"^frame 0 is \(48, 64, 3\), the video \(48, 64, 4\)$"):
        _store("a.webm", info=replace(INFO, alpha=True), frames=_frames())
    with pytest.raises(ValueError, match=r"^y4m holds no alpha$"):
        open_frames(Output(None, "frames", "y4m"), replace(INFO, alpha=True), FrameOptions(), sys.stdout.buffer)
    assert list(tmp_path.iterdir()) == []


def test_what_was_opened_before_one_that_fails_is_aborted(tmp_path: Path) -> None:
    asked = FrameOptions(("a.mp4", "b/", "c.mkv"))
    outputs = plan_frames(asked)
    (tmp_path / "c.mkv").touch()
    with pytest.raises(OutputError, match=r"^output exists already: c\.mkv$"):
        open_all(outputs, lambda each: open_frames(each, INFO, asked, sys.stdout.buffer))
    assert [path.name for path in tmp_path.iterdir()] == ["c.mkv"]


def test_a_writer_ends_as_its_sink_does(tmp_path: Path) -> None:
    (output,) = plan_frames(FrameOptions(("a.mp4",)))
    writer = open_frames(output, INFO, FrameOptions(), sys.stdout.buffer)
    for frame in _frames():
        writer.write(frame)
    writer.abort()
    assert list(tmp_path.iterdir()) == []
    writer = open_frames(output, INFO, FrameOptions(), sys.stdout.buffer)
    drain(_frames(), [writer])
    assert (writer.watch.items, writer.scale) == (5, None)
