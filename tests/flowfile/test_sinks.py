from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from flowcli.errors import OutputError
from flowcli.flowfile import FORMATS, Motion, open_exr_sink, open_flow_sink, open_stack_sink, read_flow, read_motion
from flowcli.types import FlowField, FlowPair, Frame, Sink


def _frame(index: int, name: str | None) -> Frame:
    return Frame(np.zeros((3, 4, 3), np.uint8), index, Fraction(index, 25), name)


def _pair(index: int, first: str | None = None, second: str | None = None, backward: bool = False) -> FlowPair:
    flow = FlowField(torch.full((2, 3, 4), float(index)), torch.arange(12).view(3, 4) > 0)
    frames = _frame(index, first), _frame(index + 1, second)
    return FlowPair(*(frames[::-1] if backward else frames), flow, at=frames[0])


def test_a_folder_holds_one_file_for_each_pair_named_after_the_earlier_frame(tmp_path: Path) -> None:
    target = tmp_path / "flows"
    sink = open_flow_sink(target, folder=True, tag="_bwd")
    for pair in (_pair(0, "left", "right"), _pair(7), _pair(8, "a", "b", backward=True)):
        sink.write(pair)
        assert not target.exists()
    sink.close()
    assert [path.name for path in tmp_path.iterdir()] == ["flows"]
    assert sorted(path.name for path in target.iterdir()) == ["000007_bwd.flo", "a_bwd.flo", "left_bwd.flo"]
    uv, valid = read_flow(target / "000007_bwd.flo")
    assert valid is not None
    assert valid.ravel().tolist() == [False] + [True] * 11
    assert uv[:, valid].tolist() == [[7] * 11] * 2


def test_a_single_file_holds_one_pair(tmp_path: Path) -> None:
    target = tmp_path / "a.png"
    sink = open_flow_sink(target, folder=False)
    sink.write(_pair(3))
    assert not target.exists()
    sink.close()
    assert list(tmp_path.iterdir()) == [target]
    assert read_flow(target)[0][:, 1, 1].tolist() == [3, 3]


def _output_error(sink_call: object, *arguments: object) -> tuple[str, str]:
    assert callable(sink_call)
    with pytest.raises(OutputError) as caught:
        sink_call(*arguments)
    return caught.value.message, caught.value.hint


def test_a_single_file_refuses_a_second_pair_and_none(tmp_path: Path) -> None:
    target = tmp_path / "a.flo"
    sink = open_flow_sink(target, folder=False)
    assert _output_error(sink.close) == (f"no flow for {target}: there is only one frame", "flow needs two frames")
    sink.write(_pair(0))
    assert _output_error(sink.write, _pair(1)) == (
        f"{target} holds one flow, but there are more",
        "give a folder instead",
    )
    sink.abort()
    assert list(tmp_path.iterdir()) == []


def test_two_frames_of_one_name_are_refused(tmp_path: Path) -> None:
    sink = open_flow_sink(tmp_path / "flows", folder=True)
    sink.write(_pair(0, "a"))
    assert _output_error(sink.write, _pair(1, "a")) == (
        f"two frames have the same name: a.flo in {tmp_path}/flows",
        "rename one of them",
    )
    sink.abort()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("folder", [False, True])
def test_taken_targets_are_kept_unless_they_may_be_replaced(tmp_path: Path, folder: bool) -> None:
    target = tmp_path / ("flows" if folder else "a.flo")
    file = target / "old.txt" if folder else target
    file.parent.mkdir(exist_ok=True)
    file.write_text("old")
    with pytest.raises(OutputError, match=r"^output exists already: "):
        open_flow_sink(target, folder=folder)
    sink = open_flow_sink(target, folder=folder, overwrite=True)
    sink.write(_pair(2))
    assert file.read_text() == "old"
    sink.close()
    if folder:
        assert sorted(path.name for path in target.iterdir()) == ["000002.flo", "old.txt"]
    else:
        assert read_flow(target)[0].max() == 2


# A single .jpg there is not: flow takes two.
@pytest.mark.parametrize(
    ("suffix", "folder"),
    [(suffix, folder) for suffix in FORMATS for folder in (False, True) if folder or suffix != ".jpg"],
)
def test_a_full_disk_is_one_error_and_leaves_nothing(
    tmp_path: Path, suffix: str, folder: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path, data: bytes) -> int:
        with path.open("wb") as file:
            file.write(data[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fail)
    target = tmp_path / ("flows" if folder else f"a{suffix}")
    sink = open_flow_sink(target, folder=folder, suffix=suffix)
    assert _output_error(sink.write, _pair(0)) == (
        f"cannot write {target}: No space left on device",
        "check the free space and the permissions",
    )
    sink.abort()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_for_temporal_segment_networks_counts_from_1(tmp_path: Path) -> None:
    sink = open_flow_sink(tmp_path / "tsn", folder=True, suffix=".jpg", bound=10)
    for index in (4, 5, 7):
        sink.write(_pair(index, "any", "name"))
    sink.close()
    names = [f"flow_{axis}_0000{number}.jpg" for axis in "xy" for number in (1, 2, 3)]
    assert sorted(path.name for path in (tmp_path / "tsn").iterdir()) == names
    uv, _ = read_flow(tmp_path / "tsn" / "flow_x_00003.jpg", bound=10)
    np.testing.assert_allclose(uv[:, 2, 3], 7, atol=0.1)


def _both(index: int, step: int = 1) -> FlowPair:
    """Forward flow of 10 x index, backward flow of -10 x index - 5; names are f0, f1 and so on."""
    forward, backward = (FlowField(torch.full((2, 3, 4), float(value))) for value in (10 * index, -10 * index - 5))
    first, second = (_frame(each, f"f{each}") for each in (index, index + step))
    return FlowPair(first, second, forward, backward, at=first)


def _written(sink: Sink[FlowPair], *pairs: FlowPair) -> None:
    for pair in pairs:
        sink.write(pair)
    sink.close()


def _values(motion: Motion) -> tuple[float | None, float | None]:
    """u of both ways."""
    forward, backward = (
        None if flow is None else float(flow[0][0, 0, 0]) for flow in (motion.forward, motion.backward)
    )
    return forward, backward


def _folder(folder: Path) -> dict[str, tuple[float | None, float | None]]:
    return {path.stem: _values(read_motion(path)) for path in sorted(folder.iterdir())}


@pytest.mark.parametrize("layout", ["nuke", "fusion", "blender"])
def test_an_exr_holds_what_leads_away_from_its_frame(tmp_path: Path, layout: str) -> None:
    sink = open_exr_sink(tmp_path / "e", folder=True, layout=layout)  # type: ignore[arg-type]
    _written(sink, _both(0), _both(1), _both(2))
    assert _folder(tmp_path / "e") == {"f0": (0, None), "f1": (10, -5), "f2": (20, -15), "f3": (None, -25)}


def test_at_a_cut_no_exr_mixes_two_shots(tmp_path: Path) -> None:
    _written(open_exr_sink(tmp_path / "e", folder=True), _both(0), _both(2))
    assert _folder(tmp_path / "e") == {"f0": (0, None), "f1": (None, -5), "f2": (20, None), "f3": (None, -25)}


def test_frames_may_be_apart(tmp_path: Path) -> None:
    _written(open_exr_sink(tmp_path / "e", folder=True), _both(0, 2), _both(2, 2))
    assert _folder(tmp_path / "e") == {"f0": (0, None), "f2": (20, -5), "f4": (None, -25)}


def test_the_pair_of_the_last_frame_with_itself(tmp_path: Path) -> None:
    last = _both(2, 0)
    _written(open_exr_sink(tmp_path / "e", folder=True), _both(0), _both(1), last)
    assert _folder(tmp_path / "e") == {"f0": (0, None), "f1": (10, -5), "f2": (20, -15)}
    _written(open_exr_sink(tmp_path / "g", folder=True), *(replace(pair, backward=None) for pair in (_both(1), last)))
    assert _folder(tmp_path / "g") == {"f1": (10, None), "f2": (20, None)}


def test_flow_back_in_time_goes_into_the_backward_channels_of_the_later_frame(tmp_path: Path) -> None:
    pairs = [replace(_both(index).reversed(), backward=None) for index in (0, 1)]
    _written(open_exr_sink(tmp_path / "e", folder=True), *pairs)
    assert _folder(tmp_path / "e") == {"f1": (None, -5), "f2": (None, -15)}
    still = replace(_both(2, 0), backward=None)
    _written(open_exr_sink(tmp_path / "g", folder=True), *pairs, still)
    assert _folder(tmp_path / "g") == _folder(tmp_path / "e")


def test_stmaps_and_single_files_hold_one_way(tmp_path: Path) -> None:
    _written(open_exr_sink(tmp_path / "s", folder=True, layout="stmap"), _both(1), _both(2))
    _written(
        open_exr_sink(tmp_path / "b", folder=True, layout="stmap", tag="_bwd"), _both(1).reversed(), _both(2).reversed()
    )
    rounded = {name: tuple(each and round(each, 3) for each in ways) for name, ways in _folder(tmp_path / "s").items()}
    assert rounded == {"f1": (10, None), "f2": (20, None)}
    rounded = {name: tuple(each and round(each, 3) for each in ways) for name, ways in _folder(tmp_path / "b").items()}
    assert rounded == {"f2_bwd": (None, -15), "f3_bwd": (None, -25)}
    _written(open_exr_sink(tmp_path / "a.exr", folder=False), _both(1))
    assert _values(read_motion(tmp_path / "a.exr")) == (10, None)


def test_a_failed_exr_folder_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = open_exr_sink(tmp_path / "e", folder=True)
    sink.write(_both(0))

    def fail(path: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fail)
    assert _output_error(sink.close)[0] == f"cannot write {tmp_path}/e: No space left on device"
    sink.abort()
    assert list(tmp_path.iterdir()) == []


def test_a_stack_is_one_array(tmp_path: Path) -> None:
    _written(open_stack_sink(tmp_path / "a.npy"), _pair(3), _pair(4), _pair(5))
    assert [path.name for path in tmp_path.iterdir()] == ["a.npy"]
    array = np.load(tmp_path / "a.npy", allow_pickle=False)
    assert (array.shape, array.dtype.str, array.flags.c_contiguous) == ((3, 2, 3, 4), "<f4", True)
    assert np.isnan(array[:, :, 0, 0]).all()
    assert array[:, 0, 2, 3].tolist() == [3, 4, 5]


def test_a_stack_for_i3d_is_clipped_and_scaled(tmp_path: Path) -> None:
    flows = [FlowField(torch.tensor([0.0, 20, -20, 99, -99, 0.08, 10]).repeat(2, 1, 1)) for _ in range(2)]
    first, second = (_frame(index, None) for index in range(2))
    pairs = [FlowPair(first, second, flow, at=first) for flow in flows]
    _written(open_stack_sink(tmp_path / "a.npy", bound=20), *pairs)
    array = np.load(tmp_path / "a.npy", allow_pickle=False)
    assert (array.shape, array.dtype.str) == ((2, 1, 7, 2), "<f4")
    levels = np.array([128, 256, 0, 256, 0, 129, 192])
    np.testing.assert_allclose(array[0, 0, :, 0], 2 * levels / 255 - 1, atol=1e-6)
    np.testing.assert_array_equal(array[..., 0], array[..., 1])


def test_a_stack_refuses_other_sizes_and_none(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    sink = open_stack_sink(path)
    assert _output_error(sink.close) == (f"no flow for {path}: there is only one frame", "flow needs two frames")
    sink.write(_pair(0))
    other = replace(_pair(1), forward=FlowField(torch.zeros(2, 5, 4)))
    assert _output_error(sink.write, other) == (f"flows of unlike size for {path}", "give a folder instead")
    sink.abort()
    assert list(tmp_path.iterdir()) == []
