from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import flowcli
from flowcli import Frame
from flowcli.errors import DeviceError, InputError, WeightsError
from flowcli.options import EngineOptions
from flowcli.output.naming import name_outputs
from flowcli.output.options import OutputOptions
from flowcli.run import find_weights, open_run
from flowcli.types import Direction, Last
from tests.tiny import DOWN, write_pictures


def frames(count: int) -> list[Frame]:
    return [Frame(np.full((5, 7, 3), 10 * index, np.uint8), index, Fraction(index, 25)) for index in range(count)]


def motions(*arguments: Any, **options: Any) -> list[tuple[float, float]]:
    """Mean u and v of each pair, with the CPU in float32."""
    pairs = flowcli.estimate(*arguments, device="cpu", precision="fp32", **options)
    return [(round(float(pair.forward.uv[0].mean()), 3), float(pair.forward.uv[1].mean())) for pair in pairs]


def test_frames_in_pairs_out(table: Path) -> None:
    given = frames(3)
    pairs = list(flowcli.estimate(given, device="cpu", precision="fp32"))
    assert [(pair.first, pair.second) for pair in pairs] == [(given[0], given[1]), (given[1], given[2])]
    for pair in pairs:
        assert pair.forward.uv.shape == (2, 5, 7)
        np.testing.assert_allclose(pair.forward.uv[0], 10, atol=1e-4)
        np.testing.assert_array_equal(pair.forward.uv[1], DOWN)
        assert pair.backward is None


def test_options_reach_the_engine(table: Path) -> None:
    assert motions(frames(3), direction="backward") == [(-10, DOWN)] * 2
    assert motions(frames(3), refine=3) == [(30, DOWN)] * 2
    assert motions(frames(2), last="repeat") == [(10, DOWN)] * 2
    assert motions(frames(2), last="zero") == [(10, DOWN), (0, 0)]
    with pytest.raises(DeviceError, match=r"^this network cannot work in tiles$"):
        motions(frames(2), tile=64)
    assert motions(frames(2), model=str(table / "rpwc.safetensors")) == [(10, DOWN)]
    (pair,) = flowcli.estimate(frames(2), device="cpu", precision="fp32", direction="both")
    assert pair.backward is not None
    np.testing.assert_allclose(pair.backward.uv[0], -10, atol=1e-4)


@pytest.mark.parametrize(("direction", "u"), [("forward", 10), ("backward", -10), ("both", 10)])
def test_both_ways_whatever_the_direction(table: Path, direction: Direction, u: float) -> None:
    options = EngineOptions(device="cpu", precision="fp32", direction=direction, last="repeat")
    outputs = name_outputs(OutputOptions(("a/",), ("occlusion",)), direction=direction)
    with open_run(frames(3), "x", find_weights(options), options, outputs=outputs) as run:
        pairs = [outputs[0].view(pair) for pair in run.pairs]
    assert len(pairs) == 3
    for pair in pairs:
        assert pair.backward is not None
        assert float(pair.forward.uv[0].mean()) == pytest.approx(u, abs=1e-3)
        assert float(pair.backward.uv[0].mean()) == pytest.approx(-u, abs=1e-3)
    assert [pair.first.index for pair in pairs] == ([1, 2, 2] if u < 0 else [0, 1, 2])


@pytest.mark.parametrize(
    ("last", "expected"),
    [("drop", [(0, 1), (3, 4), (4, 5)]), ("zero", [(0, 1), (1, 1), (3, 4), (4, 5), (5, 5)])],
)
def test_no_pair_crosses_a_cut(table: Path, last: Last, expected: list[tuple[int, int]]) -> None:
    given = [replace(frame, cut=frame.index in (2, 3)) for frame in frames(6)]
    pairs = list(flowcli.estimate(given, device="cpu", precision="fp32", last=last))
    assert [(pair.first.index, pair.second.index) for pair in pairs] == expected


def test_progress_is_told(table: Path, tmp_path: Path) -> None:
    told: list[tuple[int, int | None]] = []

    def progress(done: int, total: int | None) -> None:
        told.append((done, total))

    def taken(items: Iterator[Any]) -> list[tuple[int, int | None]]:
        """What has been told when each item comes, the last of it."""
        told.clear()
        seen = [told[-1] for _ in items]
        assert told == seen
        return seen

    quick: dict[str, Any] = {"device": "cpu", "precision": "fp32", "progress": progress}
    assert taken(flowcli.estimate(frames(4), **quick)) == [(1, 3), (2, 3), (3, 3)]
    assert taken(flowcli.estimate(frames(2), last="zero", **quick)) == [(1, 2), (2, 2)]
    assert taken(flowcli.estimate(iter(frames(3)), **quick)) == [(1, None), (2, None)]
    folder = write_pictures(tmp_path / "in", 5)
    assert taken(flowcli.estimate(folder, every=2, **quick)) == [(1, 2), (2, 2)]
    middle = [Fraction(0), Fraction(1, 50)]
    assert taken(flowcli.interpolate(frames(2), middle, model="nearest", progress=progress)) == [(1, 2), (2, 2)]
    assert taken(flowcli.interpolate(folder, None, model="blend", progress=progress)) == [(n, 5) for n in range(1, 6)]
    assert taken(flowcli.interpolate(frames(2), iter(middle), model="nearest", progress=progress))[0] == (1, None)
    labels = {0: np.ones((13, 18), np.uint8)}
    assert taken(flowcli.propagate(folder, labels, **quick)) == [(n, 5) for n in range(1, 6)]


def test_folder_of_pictures(table: Path, tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "in", 11)
    pairs = list(flowcli.estimate(folder, start=1, stop=11, every=3, device="cpu", precision="fp32"))
    assert [(pair.first.name, pair.second.name) for pair in pairs] == [("f1", "f4"), ("f4", "f7"), ("f7", "f10")]
    assert motions(folder / "f2.png", folder / "f5.png") == [(30, DOWN)]


@pytest.mark.parametrize("last", ["drop", "repeat", "zero"])
def test_fewer_than_two_frames(table: Path, tmp_path: Path, last: str) -> None:
    folder = write_pictures(tmp_path / "in", 1)
    with pytest.raises(InputError) as caught:
        motions(folder, last=last)
    assert (caught.value.message, caught.value.hint) == (f"only one frame in {folder}", "flow needs two frames")
    with pytest.raises(InputError, match=r"^no frames in the frames that were given$"):
        motions([], last=last)


def test_nothing_happens_before_the_first_pair(table: Path) -> None:
    flowcli.estimate("no such file", model="no such model").close()
    with pytest.raises(InputError, match=r"^no such file: nothing\.mp4$"):
        next(flowcli.estimate("nothing.mp4"))
    with pytest.raises(WeightsError, match=r"^unknown model: zzz$"):
        next(flowcli.estimate(frames(2), model="zzz"))


def test_options_that_need_a_name(table: Path) -> None:
    for options in ({"second": "x.png"}, {"start": 1}, {"stop": 1}, {"every": 2}):
        with pytest.raises(ValueError, match=r"^second, start, stop and every are for sources that are named$"):
            next(flowcli.estimate(frames(2), **options))


class Endless:
    """Frames without end that know whether they were closed."""

    def __init__(self) -> None:
        self.made = 0
        self.closed = False

    def __iter__(self) -> Iterator[Frame]:
        image = np.zeros((4, 4, 3), np.uint8)
        while not self.closed:
            self.made += 1
            yield Frame(image, self.made, Fraction(self.made))

    def close(self) -> None:
        self.closed = True


def test_closing_the_generator_closes_the_source(table: Path) -> None:
    source = Endless()
    pairs = flowcli.estimate(source, device="cpu", precision="fp32")
    next(pairs)
    next(pairs)
    assert not source.closed
    pairs.close()
    assert source.closed
    assert source.made < 20
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("flowcli")]


def test_error_of_the_source_comes_out(table: Path) -> None:
    def broken() -> Iterator[Frame]:
        yield from frames(3)
        raise InputError("frame 3 is damaged", "remove it")

    pairs = flowcli.estimate(broken(), device="cpu", precision="fp32")
    assert len([next(pairs), next(pairs)]) == 2
    with pytest.raises(InputError, match=r"^frame 3 is damaged$"):
        next(pairs)
