"""Motion vectors in EXR: channel names and signs by hand and by an EXR reader of the tests' own."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import numpy as np
import OpenEXR
import pytest

from flowcli.errors import InputError
from flowcli.flowfile import Flow, Motion, read_flow, read_motion
from flowcli.flowfile.exr import write_motion
from flowcli.types import Layout
from tests import exr

# A pixel goes 3 to the right and 2 down; it came from 1 to the left and 4 below (one row further down is +1).
FORWARD, BACKWARD = (3, 2), (-1, 4)
# The programs' y axis points up.
CHANNELS = {
    "nuke": {"forward.u": 3, "forward.v": -2, "backward.u": -1, "backward.v": -4},
    "fusion": {"velX": 3, "velY": -2, "rvelX": -1, "rvelY": -4},
    # Cycles' vectors: X, Y lead to where the pixel was, Z, W from where it will be to where it is.
    "blender": {
        "ViewLayer.Vector.X": -1,
        "ViewLayer.Vector.Y": -4,
        "ViewLayer.Vector.Z": -3,
        "ViewLayer.Vector.W": 2,
    },
}


def flow(u: float, v: float, height: int = 3, width: int = 5) -> Flow:
    return np.stack([np.full((height, width), u), np.full((height, width), v)]).astype(np.float32), None


def random(seed: int) -> Flow:
    return np.random.default_rng(seed).normal(0, 9, (2, 33, 47)).astype(np.float32), None


@pytest.mark.parametrize("layout", CHANNELS)
def test_channels_and_signs(tmp_path: Path, layout: Layout) -> None:
    path = tmp_path / "a.exr"
    write_motion(path, Motion(flow(*FORWARD), flow(*BACKWARD)), layout)
    attributes, channels = exr.read(path)
    assert attributes["dataWindow"] == attributes["displayWindow"] == (0, 0, 4, 2)
    assert attributes["flowcli"] == f"{layout} forward backward"
    assert {name: np.unique(plane).tolist() for name, plane in channels.items()} == {
        name: [value] for name, value in CHANNELS[layout].items()
    }


@pytest.mark.parametrize("layout", CHANNELS)
def test_rows_are_stored_from_the_top(tmp_path: Path, layout: Layout) -> None:
    uv = np.zeros((2, 3, 5), np.float32)
    uv[:, 0, 4] = FORWARD
    write_motion(tmp_path / "a.exr", Motion((uv, None), None), layout)
    _, channels = exr.read(tmp_path / "a.exr")
    forward = {name for name in channels if name.endswith(("forward.u", "velX", ".Z")) and "rvel" not in name}
    (name,) = forward
    assert np.argwhere(channels[name]).tolist() == [[0, 4]]


@pytest.mark.parametrize("layout", CHANNELS)
@pytest.mark.parametrize("way", ["forward", "backward"])
def test_a_way_that_is_missing_is_0_and_comes_back_as_none(tmp_path: Path, layout: Layout, way: str) -> None:
    path, uv = tmp_path / "a.exr", random(1)
    write_motion(path, Motion(uv, None) if way == "forward" else Motion(None, uv), layout)
    _, channels = exr.read(path)
    assert set(channels) == set(CHANNELS[layout])
    assert sum(not plane.any() for plane in channels.values()) == 2
    motion = read_motion(path)
    there, missing = (motion.forward, motion.backward) if way == "forward" else (motion.backward, motion.forward)
    assert missing is None
    assert there is not None
    np.testing.assert_array_equal(there[0], uv[0])
    np.testing.assert_array_equal(read_flow(path)[0], uv[0])


@pytest.mark.parametrize("layout", CHANNELS)
def test_both_ways_come_back(tmp_path: Path, layout: Layout) -> None:
    forward, backward = random(1), random(2)
    write_motion(tmp_path / "a.exr", Motion(forward, backward), layout)
    motion = read_motion(tmp_path / "a.exr")
    assert motion.forward is not None
    assert motion.backward is not None
    np.testing.assert_array_equal(motion.forward[0], forward[0])
    np.testing.assert_array_equal(motion.backward[0], backward[0])


def test_unknown_flow_is_0(tmp_path: Path) -> None:
    uv, valid = np.full((2, 1, 3), 7, np.float32), np.array([[True, True, False]])
    uv[0, 0, 1] = np.nan
    for mask, last in ((valid, 0), (None, 7)):
        write_motion(tmp_path / "a.exr", Motion((uv, mask), None))
        channels = exr.read(tmp_path / "a.exr")[1]
        assert channels["forward.u"].tolist() == [[7, 0, last]]
        assert channels["forward.v"].tolist() == [[-7, 0, -last]]


def sampled(picture: np.ndarray, red: np.ndarray, green: np.ndarray) -> np.ndarray:
    """What an STMap node makes of a picture: fractions of it from the lower left corner, nearest pixel."""
    height, width = picture.shape
    x = np.floor(red * width).astype(int)
    up = np.floor(green * height).astype(int)
    return np.asarray(picture[height - 1 - np.clip(up, 0, height - 1), np.clip(x, 0, width - 1)])


def test_an_stmap_brings_the_next_frame_onto_this_one(tmp_path: Path) -> None:
    first = np.random.default_rng(0).random((20, 30))
    second = np.roll(first, (2, 3), axis=(0, 1))
    write_motion(tmp_path / "a.exr", Motion(flow(3, 2, 20, 30), None), "stmap")
    _, channels = exr.read(tmp_path / "a.exr")
    assert set(channels) == {"R", "G", "B"}
    assert not channels["B"].any()
    # Pixel centres: none of them is near the edge of a pixel, where nearest would be a matter of rounding.
    assert np.abs((channels["R"] * 30) % 1 - 0.5).max() < 1e-4
    assert np.abs((channels["G"] * 20) % 1 - 0.5).max() < 1e-4
    back = sampled(second, channels["R"], channels["G"])
    np.testing.assert_array_equal(back[:-2, :-3], first[:-2, :-3])


def test_an_stmap_of_no_motion_is_the_identity_of_nuke(tmp_path: Path) -> None:
    write_motion(tmp_path / "a.exr", Motion(flow(0, 0, 2, 4), None), "stmap")
    _, channels = exr.read(tmp_path / "a.exr")
    assert channels["R"].tolist() == [[0.125, 0.375, 0.625, 0.875]] * 2
    assert channels["G"].tolist() == [[0.75] * 4, [0.25] * 4]


@pytest.mark.parametrize("way", ["forward", "backward"])
def test_an_stmap_comes_back_but_for_rounding(tmp_path: Path, way: str) -> None:
    uv = random(3)
    write_motion(tmp_path / "a.exr", Motion(uv, None) if way == "forward" else Motion(None, uv), "stmap")
    motion = read_motion(tmp_path / "a.exr")
    back = motion.forward if way == "forward" else motion.backward
    assert back is not None
    # Half of the last bit of a float below 2, times the width.
    np.testing.assert_allclose(back[0], uv[0], atol=47 * 2**-24 + 1e-6, rtol=0)
    with pytest.raises(ValueError, match="2 flows for one file of stmap"):
        write_motion(tmp_path / "b.exr", Motion(uv, uv), "stmap")


def write(path: Path, channels: dict[str, np.ndarray], **header: Any) -> None:
    settings = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage, **header}
    OpenEXR.File(settings, channels).write(str(path))


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("prefix", ["", "left.", "RenderLayer.", "a.b."])
@pytest.mark.parametrize("layout", CHANNELS)
def test_what_programs_write(tmp_path: Path, layout: str, prefix: str, dtype: type) -> None:
    names = {name.removeprefix("ViewLayer."): value for name, value in CHANNELS[layout].items()}
    planes: dict[str, np.ndarray] = {prefix + name: np.full((3, 5), value, dtype) for name, value in names.items()}
    write(
        tmp_path / "a.exr",
        {**planes, "R": np.ones((3, 5), dtype), "G": np.ones((3, 5), dtype), "Z": np.ones((3, 5), dtype)},
    )
    motion = read_motion(tmp_path / "a.exr")
    assert motion.forward is not None
    assert motion.backward is not None
    np.testing.assert_array_equal(motion.forward[0], flow(*FORWARD)[0])
    np.testing.assert_array_equal(motion.backward[0], flow(*BACKWARD)[0])


def test_ways_in_several_parts(tmp_path: Path) -> None:
    channels = {"rgba": ("R", 1), "forward": ("forward.u forward.v", 3), "back": ("backward.u backward.v", 4)}
    parts = [
        OpenEXR.Part(
            {"type": OpenEXR.scanlineimage, "compression": OpenEXR.ZIP_COMPRESSION},
            {each: np.full((3, 5), value, np.float32) for each in names.split()},
            part,
        )
        for part, (names, value) in channels.items()
    ]
    OpenEXR.File(parts).write(str(tmp_path / "a.exr"))
    motion = read_motion(tmp_path / "a.exr")
    assert motion.forward is not None
    assert motion.backward is not None
    np.testing.assert_array_equal(motion.forward[0], flow(3, -3)[0])
    np.testing.assert_array_equal(motion.backward[0], flow(4, -4)[0])


def test_tiles(tmp_path: Path) -> None:
    plane = np.arange(70 * 90, dtype=np.float32).reshape(70, 90)
    tiles = OpenEXR.TileDescription()
    tiles.xSize = tiles.ySize = 32
    write(tmp_path / "a.exr", {"velX": plane, "velY": plane}, type=OpenEXR.tiledimage, tiles=tiles)
    uv, valid = read_flow(tmp_path / "a.exr")
    assert valid is None
    np.testing.assert_array_equal(uv, [plane, -plane])


@pytest.mark.parametrize(("left", "top"), [(1, 2), (-2, -1), (3, 0), (50, 50)])
def test_what_lies_outside_the_data_window_is_unknown(tmp_path: Path, left: int, top: int) -> None:
    """A display of 6x4 pixels, and data of 5x3 somewhere."""
    plane = np.arange(1, 16, dtype=np.float32).reshape(3, 5)
    window = np.array([left, top], np.int32), np.array([left + 4, top + 2], np.int32)
    display = np.array([0, 0], np.int32), np.array([5, 3], np.int32)
    write(tmp_path / "a.exr", {"forward.u": plane, "forward.v": plane}, dataWindow=window, displayWindow=display)
    expected = np.zeros((4, 6))
    for y in range(3):
        for x in range(5):
            if 0 <= y + top < 4 and 0 <= x + left < 6:
                expected[y + top, x + left] = plane[y, x]
    uv, valid = read_flow(tmp_path / "a.exr")
    assert valid is not None
    np.testing.assert_array_equal(uv, [expected, -expected])
    np.testing.assert_array_equal(valid, expected > 0)


def test_what_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.exr"
    write(path, {"Y": np.ones((3, 5), np.float32), "Z": np.ones((3, 5), np.float32)})
    with pytest.raises(InputError) as caught:
        read_flow(path)
    assert caught.value.message == f"no motion vectors in {path}: it has Y Z"
    assert caught.value.hint == "known are those of Nuke, Fusion, Blender"
    write(path, {"velX": np.ones((3, 5), np.uint32), "velY": np.ones((3, 5), np.uint32)})
    with pytest.raises(InputError, match=r" has uint32 \(3, 5\) in velX$"):
        read_flow(path)
    write_motion(path, Motion(random(1), None))
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(InputError) as caught:
        read_flow(path)
    assert caught.value.message == f"damaged .exr file: {path}"
    assert capfd.readouterr().out == ""


def test_every_layout_has_channels() -> None:
    assert {*get_args(Layout)} == {*CHANNELS, "stmap"}
