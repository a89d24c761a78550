"""Videos that hold flow: what ffmpeg finds in them, and what is read back."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from flowcli.errors import FlowcliError, InputError, OutputError
from flowcli.types import FlowField, FlowPair, Frame, StreamInfo, drain
from flowcli.video import FlowVideo, open_flow_video_sink, open_nut_sink
from tests.video import clips

HEIGHT, WIDTH = 33, 47
INFO = StreamInfo(HEIGHT, WIDTH, Fraction(10))
# Whole milliseconds, which is what Matroska can hold.
TIMES = [Fraction(each, 1000) for each in (0, 40, 100, 133, 500)]


def flows(spread: float = 30) -> np.ndarray:
    return np.random.default_rng(3).normal(0, spread, (len(TIMES), 2, HEIGHT, WIDTH)).astype(np.float32)


def masks() -> np.ndarray:
    found = np.random.default_rng(4).random((len(TIMES), HEIGHT, WIDTH)) < 0.8
    found[1] = True
    return found


def pairs(uvs: np.ndarray, valids: np.ndarray | None = None) -> list[FlowPair]:
    image = np.zeros((*uvs.shape[2:], 3), np.uint8)
    made = []
    for index, (uv, time) in enumerate(zip(uvs, TIMES, strict=False)):
        valid = None if valids is None else torch.from_numpy(valids[index])
        frames = Frame(image, index, time), Frame(image, index + 1, time + 1)
        made.append(FlowPair(*frames, FlowField(torch.from_numpy(uv), valid), at=frames[0]))
    return made


def write(path: Path, given: list[FlowPair], **options: float) -> Path:
    if path.suffix == ".nut":
        with path.open("wb") as file:
            drain(given, [open_nut_sink(file, INFO)])
    else:
        drain(given, [open_flow_video_sink(path, INFO, **options)])  # type: ignore[arg-type]
    return path


def test_ffmpeg_finds_kittis_numbers_in_16_bits(tmp_path: Path) -> None:
    uvs, valids = flows(200), masks()
    path = write(tmp_path / "a.mkv", pairs(uvs, valids))
    assert "Video: ffv1, gbrp16le(" in clips.banner(path)
    assert clips.comment(path) == "flow: R = 32768 + u * 64, G = 32768 + v * 64, B = 1 where known"
    # ffmpeg's order of planes is G, B, R.
    found = clips.planes(path, "gbrp16le", "<u2", *[(HEIGHT, WIDTH)] * 3)
    assert len(found) == len(uvs)
    for (green, blue, red), uv, valid in zip(found, uvs, valids, strict=True):
        stored = np.clip(np.round(uv.astype(np.float64) * 64) + 32768, 0, 65535) * valid
        np.testing.assert_array_equal(red, stored[0])
        np.testing.assert_array_equal(green, stored[1])
        np.testing.assert_array_equal(blue, valid)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options", "error"),
    [
        ("a.mkv", {}, 1 / 128),
        ("a.mkv", {"bound": 64}, 1 / 1024),
        ("a.mkv", {"bound": 20}, 20 / 65536),
        ("a.mkv", {"bound": 2000}, 2000 / 65536),
        ("a.nut", {}, 0),
    ],
)
@pytest.mark.parametrize("masked", [False, True])
def test_what_was_written_comes_back(
    tmp_path: Path, name: str, options: dict[str, float], error: float, masked: bool
) -> None:
    uvs, valids = flows(4), masks() if masked else None
    path = write(tmp_path / name, pairs(uvs, valids), **options)
    with FlowVideo(str(path)) as video:
        assert (video.info.height, video.info.width) == (HEIGHT, WIDTH)
        found = list(video)
    assert [each.time for each in found] == TIMES
    for index, (each, uv) in enumerate(zip(found, uvs, strict=True)):
        known = np.ones((HEIGHT, WIDTH), bool) if valids is None else valids[index]
        assert each.uv.dtype == np.float32
        np.testing.assert_array_equal(each.valid, known)
        np.testing.assert_allclose(each.uv[:, known], uv[:, known], atol=error * 1.0001, rtol=0)
        assert not each.uv[:, ~known].any()


def test_flow_beyond_the_bound_is_clamped(tmp_path: Path) -> None:
    uv = np.array([[[600, -600, np.nan]], [[511, -512, 0]]], np.float32)
    path = write(tmp_path / "a.mkv", pairs(np.pad(uv, ((0, 0), (0, HEIGHT - 1), (0, WIDTH - 3)))[None]))
    with FlowVideo(str(path)) as video:
        (found,) = video
    assert found.uv[:, 0, :3].tolist() == [[511.984375, -512, 0], [511, -512, 0]]
    assert found.valid[0, :3].tolist() == [True, True, False]


def test_a_constant_rate(tmp_path: Path) -> None:
    sink = open_flow_video_sink(tmp_path / "a.mkv", INFO, fps=Fraction(5))
    drain(pairs(flows()), [sink])
    with FlowVideo(str(tmp_path / "a.mkv")) as video:
        assert [each.time for each in video] == [Fraction(number, 5) for number in range(len(TIMES))]


def test_the_same_flow_makes_the_same_file(tmp_path: Path) -> None:
    one, two = (write(tmp_path / name, pairs(flows())) for name in ("a.mkv", "b.mkv"))
    assert one.read_bytes() == two.read_bytes()


def test_odd_names_and_what_is_there(tmp_path: Path) -> None:
    path = write(tmp_path / "-a %d:ü.mkv", pairs(flows()))
    with FlowVideo(str(path)) as video:
        assert len(list(video)) == len(TIMES)
    with pytest.raises(OutputError, match=r"^output exists already: "):
        open_flow_video_sink(path, INFO)


def test_an_aborted_sink_leaves_nothing(tmp_path: Path) -> None:
    sink = open_flow_video_sink(tmp_path / "a.mkv", INFO)
    sink.write(pairs(flows())[0])
    sink.abort()
    assert list(tmp_path.iterdir()) == []
    sink = open_flow_video_sink(tmp_path / "a.mkv", INFO)
    with pytest.raises(OutputError, match=r"^no frame was written to "):
        sink.close()
    assert list(tmp_path.iterdir()) == []


def colours(path: Path) -> None:
    clips.lavfi(path, "testsrc=size=64x48:rate=10:duration=0.5", "-c:v", "ffv1")


def deep_colours(path: Path) -> None:
    clips.lavfi(path, "testsrc=size=64x48:rate=10:duration=0.5", "-c:v", "ffv1", "-pix_fmt", "gbrp16le")


def other_comment(path: Path) -> None:
    options = ("-c:v", "ffv1", "-pix_fmt", "gbrp16le", "-metadata", "comment=flow: R = 32768 + u * 0, G = 0")
    clips.lavfi(path, "testsrc=size=64x48:rate=10:duration=0.5", *options)


def raw_colours(path: Path) -> None:
    clips.lavfi(path, "testsrc=size=64x48:rate=10:duration=0.5", "-c:v", "rawvideo", "-pix_fmt", "rgb24")


@pytest.mark.parametrize(
    ("name", "make"),
    [("a.mkv", colours), ("a.mkv", deep_colours), ("a.mkv", other_comment), ("a.nut", raw_colours)],
)
def test_other_videos_are_refused(tmp_path: Path, name: str, make: Callable[[Path], None]) -> None:
    path = tmp_path / name
    make(path)
    with pytest.raises(InputError) as caught:
        FlowVideo(str(path))
    assert caught.value.message == f"a video, but not of flow: {path}"


@pytest.mark.parametrize("name", ["a.mkv", "a.nut"])
def test_a_video_that_is_cut_off_gives_what_there_is(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    uvs = flows()
    path = write(tmp_path / name, pairs(uvs))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 7 // 10])
    with FlowVideo(str(path)) as video:
        found = list(video)
    assert 1 <= len(found) < len(uvs)
    np.testing.assert_allclose(found[0].uv, uvs[0], atol=1 / 128)
    assert "is damaged or cut off" in caplog.text


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a.mkv", "a.nut"])
@given(data=st.data())
def test_damaged_videos_never_give_anything_but_an_error_of_ours(
    tmp_path_factory: pytest.TempPathFactory, name: str, data: st.DataObject
) -> None:
    good = tmp_path_factory.getbasetemp() / f"good_{name}"
    if not good.exists():
        write(good, pairs(flows()))
    content = bytearray(good.read_bytes())
    for place, value in data.draw(
        st.lists(st.tuples(st.integers(0, 999), st.integers(0, 255)), min_size=1, max_size=3)
    ):
        content[place] = value
    path = good.with_name(f"fuzz_{name}")
    path.write_bytes(content)
    try:
        with FlowVideo(str(path)) as video:
            for each in video:
                assert np.isfinite(each.uv).all()
                assert each.valid.shape == each.uv.shape[1:]
    except FlowcliError:
        pass
