from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from flowcli.batch.listing import names, runs


def test_frames_are_one_run() -> None:
    frames = [f"{number:06d}.flo" for number in range(10_000)]
    assert runs(frames) == (("000000.flo", 10_000),)
    assert list(names((("000000.flo", 10_000),))) == frames


def test_a_gap_another_width_and_other_names_begin_a_run() -> None:
    assert runs(["f9.png", "f10.png", "f12.png", "notes.txt", "sub/f13.png"]) == (
        ("f10.png", 1),
        ("f12.png", 1),
        ("f9.png", 1),
        ("notes.txt", 1),
        ("sub/f13.png", 1),
    )
    assert runs([]) == ()
    assert runs(["flow_x_00001.jpg", "flow_x_00002.jpg", "flow_y_00001.jpg"]) == (
        ("flow_x_00001.jpg", 2),
        ("flow_y_00001.jpg", 1),
    )


@given(st.sets(st.text("0129a._-\udcff\n", max_size=6), max_size=12))
def test_any_names_come_back(some: set[str]) -> None:
    assert sorted(names(runs(some))) == sorted(some)
