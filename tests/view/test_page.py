from __future__ import annotations

import re
import tracemalloc
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from flowcli.errors import OutputError, UsageError
from flowcli.pictures import from_jpeg
from flowcli.types import Frame, drain
from flowcli.view.coding import PackedFlow, unpack_flow
from flowcli.view.detail import Detail
from flowcli.view.looks import Look
from flowcli.view.page import PageSink, Subject
from tests.view.looks import HEIGHT, WIDTH, facts, frame, look, noisy, pair, stored, subject


def write(path: Path, count: int, limit: int, size: tuple[int, int] = (HEIGHT, WIDTH)) -> PageSink:
    sink = PageSink(path, subject(*size), limit)
    drain((look(number, *size) for number in range(count)), [sink])
    return sink


def test_each_detail_keeps_less_than_the_one_before() -> None:
    details = [Detail()]
    for _ in range(6):
        details.append(details[-1].coarser(360, 640))
    assert [(each.step, each.spacing, each.shrink, each.every) for each in details] == [
        (0.04, 1, 1, 1),
        (0.12, 1, 1, 1),
        (0.12, 2, 1, 1),
        (0.12, 4, 2, 1),
        (0.12, 4, 2, 2),
        (0.12, 4, 2, 4),
        (0.12, 4, 2, 8),
    ]


def test_a_page_with_room_keeps_all(tmp_path: Path) -> None:
    sink = write(tmp_path / "a.html", 3, 10_000_000)
    found = facts(tmp_path / "a.html")
    assert (sink.frames, sink.detail, sink.error) == (3, Detail(), 0.02)
    assert sink.size == (tmp_path / "a.html").stat().st_size
    assert (found["width"], found["height"], found["spacing"], found["every"]) == (WIDTH, HEIGHT, 1, 1)
    assert [(each["index"], each["time"]) for each in found["frames"]] == [(0, 0.0), (1, 0.04), (2, 0.08)]
    for number in range(3):
        uv = noisy(number)
        data = stored(tmp_path / "a.html", f"flow-0-{number}")
        assert data is not None
        read = unpack_flow(PackedFlow(data, HEIGHT, WIDTH, found["frames"][number]["steps"][0]))
        assert np.nanmax(np.abs(read - uv)) <= found["error"] + 1e-5
        (mean,), (high,) = (found["frames"][number][column] for column in ("speed_mean", "speed_p95"))
        speed = np.hypot(*uv)
        assert mean == pytest.approx(np.nanmean(speed), abs=1e-3)
        assert high == pytest.approx(np.nanpercentile(speed, 95), abs=1e-3)
        picture = stored(tmp_path / "a.html", f"picture-{number}")
        assert picture is not None
        assert np.abs(from_jpeg(picture).astype(int) - frame(number).image).mean() < 3


@pytest.mark.parametrize("limit", [90_000, 150_000, 300_000, 500_000])
def test_a_page_is_never_larger_than_allowed(limit: int, tmp_path: Path) -> None:
    sizes = (161, 201)
    sink = write(tmp_path / "a.html", 9, limit, sizes)
    found = facts(tmp_path / "a.html")
    assert sink.size <= limit
    assert sink.detail != Detail()
    kept = [each["index"] for each in found["frames"]]
    assert kept == list(range(0, 9, sink.detail.every))
    spacing = sink.detail.spacing
    rows, columns = (-(-side // spacing) for side in sizes)
    for place, number in enumerate(kept):
        data = stored(tmp_path / "a.html", f"flow-0-{place}")
        assert data is not None
        read = unpack_flow(PackedFlow(data, rows, columns, found["frames"][place]["steps"][0]))
        assert np.nanmax(np.abs(read - noisy(number, *sizes)[:, ::spacing, ::spacing])) <= found["error"] + 1e-5


def test_less_room_keeps_less(tmp_path: Path) -> None:
    sizes = [write(tmp_path / f"{limit}.html", 9, limit, (161, 201)).size for limit in (90_000, 150_000, 500_000)]
    assert all(one < other for one, other in pairwise(sizes))


@pytest.mark.parametrize("limit", [1, 50_000])
def test_a_page_without_room_for_a_frame_is_an_error(limit: int, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"a page of {limit} bytes has no room for a frame"):
        write(tmp_path / "a.html", 3, limit, (161, 201))
    assert list(tmp_path.iterdir()) == []


def test_what_is_aborted_leaves_nothing(tmp_path: Path) -> None:
    sink = PageSink(tmp_path / "a.html", subject(), 10**6)
    sink.write(look(0))
    sink.abort()
    assert list(tmp_path.iterdir()) == []


def test_what_exists_is_not_replaced_unasked(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text("mine")
    with pytest.raises(OutputError, match="output exists already"):
        PageSink(tmp_path / "a.html", subject(), 10**6)
    PageSink(tmp_path / "a.html", subject(), 10**6, overwrite=True).abort()
    assert (tmp_path / "a.html").read_text() == "mine"


def test_names_cannot_leave_their_places(tmp_path: Path) -> None:
    evil = '</script><script>alert("x")</script><!--'
    page = tmp_path / "a.html"
    sink = PageSink(page, subject(title=evil, names=(evil,)), 10**6)
    named = replace(frame(0), name=evil)
    drain([Look(named, (pair(0, noisy(0)),))], [sink])
    text = page.read_text(encoding="utf-8")
    assert "alert" in text
    assert "<script>alert" not in text
    assert "<!--" not in text
    assert facts(page)["names"] == [evil]
    assert facts(page)["frames"][0]["name"] == evil


def test_long_names_count_as_part_of_the_page(tmp_path: Path) -> None:
    """80 characters that take 12 bytes each."""
    page = tmp_path / "a.html"
    small = Frame(np.zeros((8, 8, 3), np.uint8), 0, Fraction(0), "\N{GRINNING FACE}" * 80)
    drain([Look(small)] * 200, [PageSink(page, subject(8, 8), 100_000)])
    assert 50_000 < page.stat().st_size <= 100_000


def test_a_title_that_is_no_text(tmp_path: Path) -> None:
    page = tmp_path / "a.html"
    drain([look(0)], [PageSink(page, subject(title="\udc80<b>"), 10**6)])
    assert "<title>?&lt;b&gt;</title>" in page.read_text(encoding="utf-8")


def test_the_page_names_nothing_elsewhere_and_forbids_it(tmp_path: Path) -> None:
    write(tmp_path / "a.html", 1, 10**6)
    text = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert not re.search(r"https?:|\bsrc=|\bhref=|@import|url\(|\bfetch\(|XMLHttpRequest|WebSocket", text)
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy


def test_a_frame_without_flow_has_a_picture_alone(tmp_path: Path) -> None:
    page = tmp_path / "a.html"
    drain([look(0), Look(frame(1))], [PageSink(page, subject(), 10**6)])
    assert stored(page, "picture-1") is not None
    assert stored(page, "flow-0-1") is None
    assert facts(page)["frames"][1] == {"index": 1, "time": 0.04, "cut": False, "steps": []}


def test_flow_alone_has_no_pictures(tmp_path: Path) -> None:
    page = tmp_path / "a.html"
    drain([look(0)], [PageSink(page, subject(pictures=False), 10**6)])
    assert stored(page, "picture-0") is None
    assert stored(page, "flow-0-0") is not None


@pytest.mark.slow
def test_memory_is_bounded_by_the_page(tmp_path: Path) -> None:
    """250 frames of 320x180."""
    limit, size = 1_000_000, (180, 320)
    y, x = np.mgrid[:180, :320] / 20
    smooth = np.stack((9 * np.sin(x), 5 * np.cos(y))).astype(np.float32)
    noise = np.random.default_rng(0).normal(0, 0.1, (2, *size)).astype(np.float32)
    shown: Subject = subject(*size)
    tracemalloc.start()
    try:
        sink = PageSink(tmp_path / "a.html", shown, limit)
        for number in range(250):
            found = pair(number, smooth + np.roll(noise, number, 2))
            sink.write(Look(found.first, (found,)))
        sink.close()
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert limit / 4 < sink.size <= limit
    pixels = size[0] * size[1]
    # The finer and the coarser frames, and what the work on one frame takes: some floats for each pixel.
    assert most < 2 * limit + 150 * pixels
