from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import OpenEXR
import pytest
import torch

from flowcli.errors import InputError
from flowcli.flowfile import FORMATS, open_exr_sink, open_flow_sink, open_stack_sink, write_flow
from flowcli.flowsource import open_flow_source, same_size
from flowcli.types import FlowField, FlowPair, Frame, StreamInfo, drain
from flowcli.video import open_flow_video_sink, open_nut_sink


@pytest.fixture(autouse=True)
def _inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(name: str, u: float, height: int = 3, width: int = 4) -> None:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    write_flow(name, np.full((2, height, width), u, np.float32))


def flow(u: float) -> FlowField:
    return FlowField(torch.full((2, 3, 4), float(u)))


def pairs(*indices: int, both: bool = True) -> list[FlowPair]:
    """Frames f0, f1 and so on; forward flow is the frame's number, backward flow is minus that of the later frame."""
    made = []
    for index in indices:
        first, second = (
            Frame(np.zeros((3, 4, 3), np.uint8), each, Fraction(each, 25), f"f{each}") for each in (index, index + 1)
        )
        made.append(FlowPair(first, second, flow(index), flow(-index - 1) if both else None, at=first))
    return made


def read(*inputs: str, **options: Any) -> list[FlowPair]:
    with open_flow_source(inputs, **options) as source:
        return list(source)


def seen(found: Sequence[FlowPair]) -> list[tuple[str | None, float, float | None]]:
    """Name, u of the flow and u of the backward flow."""
    values = [
        [None if flow is None else float(flow.uv[0, 0, 0]) for flow in (pair.forward, pair.backward)] for pair in found
    ]
    return [(pair.at.name, forward or 0.0, backward) for pair, (forward, backward) in zip(found, values, strict=True)]


def refusal(*inputs: str, **options: Any) -> tuple[str, str]:
    with pytest.raises(InputError) as caught:
        read(*inputs, **options)
    return caught.value.message, caught.value.hint


def test_a_folder_is_read_in_the_order_of_its_numbers() -> None:
    for number in (0, 1, 9, 10, 11):
        write(f"in/f{number}.flo", number)
    Path("in/.hidden.flo").touch()
    Path("in/notes.txt").touch()
    found = read("in")
    assert seen(found) == [(f"f{number}", number, None) for number in (0, 1, 9, 10, 11)]
    assert seen(read("in/*.flo")) == seen(found)
    assert seen(read("in/f10.flo", "in/f0.flo")) == [("f10", 10, None), ("f0", 0, None)]


def test_pairs_have_black_frames_of_the_flow_and_25_of_them_a_second() -> None:
    for number in (1, 2):
        write(f"in/f{number}.flo", number)
    with open_flow_source(["in"]) as source:
        assert source.info == StreamInfo(3, 4, Fraction(25), 2)
        assert not source.single
        one, two = source
    assert (one.first.index, one.second.index) == (0, 1)
    assert (one.first.time, one.second.time) == (Fraction(0), Fraction(1, 25))
    assert (two.first.index, two.first.time, two.first.name, two.second.name) == (1, Fraction(1, 25), "f2", "f3")
    assert one.first.image.shape == (3, 4, 3)
    assert one.first.image.dtype == np.uint8
    assert not one.first.image.any()
    with open_flow_source(["in/f1.flo"]) as source:
        assert source.single


@pytest.mark.parametrize(
    ("names", "indices"),
    [
        (["f0", "f1", "f3", "f4"], [0, 1, 3, 4]),
        (["f10", "f12", "f16"], [0, 1, 3]),
        (["f10", "f12", "f15"], [0, 1, 2]),
        (["a", "b", "c"], [0, 1, 2]),
        (["00_10", "01_10", "02_10"], [0, 1, 2]),
        (["a1", "b7"], [0, 1]),
    ],
)
def test_numbers_that_are_missing_are_frames_that_are(names: list[str], indices: list[int]) -> None:
    for name in names:
        write(f"in/{name}.flo", 1)
    found = read("in")
    assert [pair.first.index for pair in found] == indices
    assert [pair.first.time * 25 for pair in found] == indices


@pytest.mark.parametrize("suffix", sorted(FORMATS.keys() - {".exr"}))
def test_names_that_end_with_bwd_are_the_way_back(suffix: str) -> None:
    stems = ("flow_x_00001", "flow_x_00002")
    for number, stem in enumerate(stems):
        write(f"in/{stem}{suffix}", 2 + number)
        write(f"in/{stem}_bwd{suffix}", -3 - number)

    def rounded(**options: Any) -> list[tuple[float, float | None]]:
        return [(round(u), back and round(back)) for _, u, back in seen(read("in", **options))]

    assert rounded() == [(2, None), (3, None)]
    assert rounded(direction="backward") == [(-3, None), (-4, None)]
    assert rounded(direction="both") == [(2, -3), (3, -4)]
    forward, backward = read("in")[0], read("in", direction="backward")[0]
    assert (forward.first.index, forward.second.index) == (0, 1)
    assert (backward.first.index, backward.second.index) == (1, 0)
    assert forward.at.name == backward.at.name == (None if suffix == ".jpg" else "flow_x_00001")


def test_one_way_alone_is_what_is_asked_for() -> None:
    write("plain/f1.flo", 5)
    write("back/f1_bwd.flo", 6)
    (pair,) = read("plain", direction="backward")
    assert (pair.first.index, pair.second.index, seen([pair])) == (1, 0, [("f1", 5, None)])
    (pair,) = read("back")
    assert (pair.first.index, pair.second.index, seen([pair])) == (0, 1, [("f1", 6, None)])
    expected = f"no such file: {Path('plain/f1_bwd.flo')}, for the flow both ways", "masks and --both need it"
    assert refusal("plain", direction="both") == expected
    write("plain/f1_bwd.flo", 7)
    assert seen(read("plain/f1.flo", direction="both")) == [("f1", 5, 7)]


@pytest.mark.parametrize("layout", ["nuke", "fusion", "blender", "stmap"])
def test_exr_files_belong_to_frames(layout: Any) -> None:
    given = pairs(0, 1, 2)
    drain(given, [open_exr_sink(Path("e"), folder=True, layout=layout)])
    if layout == "stmap":
        back = open_exr_sink(Path("e"), folder=True, layout=layout, tag="_bwd", overwrite=True)
        drain([pair.reversed() for pair in given], [back])

    def rounded(**options: Any) -> list[tuple[str | None, float, float | None]]:
        return [(name, round(u, 3), back and round(back, 3)) for name, u, back in seen(read("e", **options))]

    assert rounded() == [("f0", 0, None), ("f1", 1, None), ("f2", 2, None)]
    assert rounded(direction="backward") == [("f0", -1, None), ("f1", -2, None), ("f2", -3, None)]
    assert rounded(direction="both") == [("f0", 0, -1), ("f1", 1, -2), ("f2", 2, -3)]
    (first, *_) = read("e", direction="backward")
    assert (first.first.index - first.second.index, first.first.name, first.second.name) == (1, "f1", "f0")


def test_no_pair_of_exr_files_spans_a_cut() -> None:
    drain(pairs(0, 2), [open_exr_sink(Path("e"), folder=True)])
    assert seen(read("e", direction="both")) == [("f0", 0, -1), ("f2", 2, -3)]


def test_no_pair_of_exr_files_spans_a_frame_that_is_missing() -> None:
    """Files of other programs hold both ways everywhere."""
    Path("e").mkdir()
    for number in (0, 1, 3, 4):
        ways = {"forward.u": number, "forward.v": 0, "backward.u": -number, "backward.v": 0}
        planes = {name: np.full((3, 4), value, np.float32) for name, value in ways.items()}
        header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
        OpenEXR.File(header, planes).write(f"e/f{number}.exr")
    assert seen(read("e", direction="both")) == [("f0", 0, -1), ("f3", 3, -4)]


def test_an_exr_without_the_way_that_is_asked_for() -> None:
    drain(pairs(0, 1, both=False), [open_exr_sink(Path("e"), folder=True)])
    hint = "--backward, --both or neither takes what is there"
    assert refusal("e", direction="backward") == ("no backward flow in f0.exr", hint)
    assert refusal("e", direction="both") == ("no flow both ways in f0.exr", hint)


@pytest.mark.parametrize("name", ["a.mkv", "a.npy"])
def test_one_file_of_many_flows(name: str) -> None:
    given = [replace(pair, at=replace(pair.at, time=Fraction(index, 10))) for index, pair in enumerate(pairs(5, 6, 7))]
    info = StreamInfo(3, 4, Fraction(10))
    drain(given, [open_flow_video_sink(Path(name), info) if name == "a.mkv" else open_stack_sink(Path(name))])
    with open_flow_source([name]) as source:
        found = list(source)
        assert source.info.frames == 3
        assert source.info.rate == (10 if name == "a.mkv" else 25)
        assert not source.single
    assert seen(found) == [(None, 5, None), (None, 6, None), (None, 7, None)]
    tenths = [pair.first.time * source.info.rate for pair in found]
    assert tenths == [0, 1, 2]


@pytest.mark.slow
def test_a_video_both_ways_is_two_files() -> None:
    given = pairs(5, 6)
    info = StreamInfo(3, 4, Fraction(25))
    drain(given, [open_flow_video_sink(Path("a.mkv"), info)])
    assert refusal("a.mkv", direction="both")[0] == "no such file: a_bwd.mkv, for the flow both ways"
    drain([pair.reversed() for pair in given], [open_flow_video_sink(Path("a_bwd.mkv"), info)])
    assert seen(read("a.mkv", direction="both")) == [(None, 5, -6), (None, 6, -7)]
    assert refusal("a.mkv", "a_bwd.mkv", "b.mkv")[0] == "no such file: b.mkv"
    drain(given, [open_flow_video_sink(Path("b.mkv"), info)])
    assert refusal("a.mkv", "b.mkv") == ("2 videos of flow", "give one at a time")


def test_two_stacks_must_be_of_one_length() -> None:
    drain(pairs(5, 6), [open_stack_sink(Path("a.npy"))])
    drain(pairs(5), [open_stack_sink(Path("a_bwd.npy"))])
    assert refusal("a.npy", direction="both")[0] == "different numbers of flows: a.npy a_bwd.npy"


def test_values_for_i3d() -> None:
    drain(pairs(5, 6), [open_stack_sink(Path("a.npy"), bound=20)])
    found = read("a.npy", kind="i3d")
    np.testing.assert_allclose([pair.forward.uv[0, 0, 0] for pair in found], [5, 6], atol=20 / 255)
    drain(pairs(5), [open_stack_sink(Path("b.npy"), bound=8)])
    (pair,) = read("b.npy", kind="i3d", bound=8)
    np.testing.assert_allclose(pair.forward.uv, 5, atol=8 / 255)
    assert refusal("a.npy") == (
        "flow in pixels, or I3D's: a.npy has the shape (2, 3, 4, 2), as both have",
        "say it: flowcli convert FILE --from i3d, or --from pixels",
    )
    np.save("c.npy", np.full((1, 5, 7, 2), 0.5, np.float32))
    assert [float(pair.forward.uv[0, 0, 0]) for pair in read("c.npy", kind="pixels")] == [0.5]
    for shape in ((1, 2, 5, 7), (5, 7, 2), (2, 5, 7)):
        np.save("d.npy", np.full(shape, 0.5, np.float32))
        assert [float(pair.forward.uv[1, 4, 6]) for pair in read("d.npy")] == [0.5]
        said = ("not I3D's flow (N, H, W, 2): d.npy has ", "leave out --from i3d")
        message, hint = refusal("d.npy", kind="i3d")
        assert (message.startswith(said[0]), hint) == (True, said[1])
    write("a.flo", 1)
    assert refusal("a.flo", kind="i3d") == ("--from i3d is for .npy, not for .flo", "leave out --from i3d")


def test_a_folder_of_tsn_with_its_bound() -> None:
    drain(pairs(5, 6), [open_flow_sink(Path("t"), folder=True, suffix=".jpg", bound=10)])
    cv2.imwrite("t/img_00001.jpg", np.zeros((3, 4, 3), np.uint8))
    found = read("t", bound=10)
    assert [pair.at.name for pair in found] == [None, None]
    np.testing.assert_allclose([pair.forward.uv[0, 0, 0] for pair in found], [5, 6], atol=0.1)
    np.testing.assert_allclose([pair.forward.uv[0, 0, 0] for pair in read("t")], [10, 12], atol=0.2)
    assert len(read("t/*.jpg".replace("*", "flow_*"))) == 2


def test_raw_floats_in_a_file() -> None:
    with Path("a.nut").open("wb") as file:
        drain(pairs(5, 6), [open_nut_sink(file, StreamInfo(3, 4, Fraction(25)))])
    assert seen(read("a.nut")) == [(None, 5, None), (None, 6, None)]


def test_flow_is_read_as_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(20):
        write(f"in/{number}.flo", number)
    count = 0
    real = FORMATS[".flo"]

    def counting(path: Path) -> Any:
        nonlocal count
        count += 1
        return real.read(path)

    monkeypatch.setitem(FORMATS, ".flo", replace(real, read=counting))
    with open_flow_source(["in"]) as source:
        assert count == 1
        iterator = iter(source)
        for asked in range(1, 6):
            next(iterator)
            assert count <= asked + 1


def test_unknown_pixels_stay_unknown() -> None:
    write_flow("a.flo", np.ones((2, 1, 2), np.float32), np.array([[True, False]]))
    (pair,) = read("a.flo")
    assert pair.forward.valid is not None
    assert pair.forward.valid.tolist() == [[True, False]]


def test_sizes_may_differ_unless_they_may_not() -> None:
    write("in/1.flo", 1)
    write("in/2.flo", 2, height=5)
    found = read("in")
    assert [tuple(pair.forward.uv.shape) for pair in found] == [(2, 3, 4), (2, 5, 4)]
    with open_flow_source(["in"]) as source, pytest.raises(InputError) as caught:
        list(same_size(source, source.info))
    assert caught.value.message == "flow 2 is 4x5, the first one 4x3"


def test_pictures_beside_flow_are_colours() -> None:
    write("in/1.flo", 1)
    cv2.imwrite("in/1.png", np.zeros((3, 4, 3), np.uint8))
    assert seen(read("in")) == [("1", 1, None)]


def test_what_is_refused() -> None:
    Path("empty").mkdir()
    Path("a.mp4").write_bytes(b"x")
    write("in/1.flo", 1)
    write("in/2.pfm", 1)
    known = (
        "flow is read from .flo .png .pfm .flo5 .npy .npz .exr .jpg .mkv .nut; flowcli estimate finds it in other "
        "videos and pictures"
    )
    assert refusal("no.flo") == ("no such file: no.flo", "check the name")
    assert refusal("no/*.flo") == ("no file matches: no/*.flo", "check the pattern")
    assert refusal("empty") == ("no files of flow: empty", known)
    assert refusal("a.mp4") == ("not a file of flow: a.mp4", known)
    expected = "several kinds of flow: .flo .pfm", "give one kind at a time, as 'folder/*.flo'"
    assert refusal("in") == refusal("in/1.flo", "in/2.pfm") == expected
    assert refusal("a.mkv") == ("no such file: a.mkv", "check the name")


def test_a_damaged_file_is_named_when_its_turn_comes() -> None:
    write("in/1.flo", 1)
    Path("in/2.flo").write_bytes(b"PIEH")
    with open_flow_source(["in"]) as source:
        iterator = iter(source)
        assert seen([next(iterator)]) == [("1", 1, None)]
        with pytest.raises(InputError) as caught:
            next(iterator)
    assert caught.value.message == f"not a .flo file: {Path('in/2.flo')}"
