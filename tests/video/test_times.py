"""Times that cannot be true: frames go on at the nominal rate, with one warning."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from flowcli.video import open_source
from flowcli.video.facts import Facts
from tests.video import clips

RATE = 10
WARNED = "{}: the times of {} frames go back, stand still or jump: these follow at the nominal rate"


def tenths(*numbers: float) -> list[Fraction]:
    return [Fraction(number).limit_denominator(1000) / RATE for number in numbers]


CASES: dict[str, tuple[list[Fraction], list[Fraction], int]] = {
    "it begins anew": (tenths(*range(20), *range(10)), tenths(*range(30)), 1),
    "and again, at another time": (
        tenths(*range(20), 5, 6, 7, 100, 101, 0, 2),
        tenths(*range(23), 115, 116, 117, 119),
        2,
    ),
    "all are equal": (tenths(3, 3, 3, 3), tenths(3, 4, 5, 6), 3),
    "backwards": (tenths(9, 8, 7, 6), tenths(9, 10, 11, 12), 3),
    "one repeats": (tenths(0, 1, 1, 3, 4), tenths(0, 1, 2, 3, 4), 1),
    "a jump of a day": (tenths(0, 1, 864_000, 864_001), tenths(0, 1, 2, 3), 1),
    "as they should be": (tenths(0, 1, 2.5, 7, 7.1), tenths(0, 1, 2.5, 7, 7.1), 0),
    "a pause of half an hour": (tenths(0, 1, 18_000, 18_001), tenths(0, 1, 18_000, 18_001), 0),
}


@pytest.mark.parametrize("case", CASES)
def test_times_go_on(case: str) -> None:
    given, expected, odd = CASES[case]
    facts = Facts()
    facts.note("[Parsed_showinfo@kept @ 0x1] ", "info", f"config in time_base: 1/1000, frame_rate: {RATE}/1")
    found = []
    for time in given:
        for which in ("all", "kept"):
            line = f"n:   0 pts: {int(time * 1000)} pts_time:0 duration: 1 fmt:rgb24 sar:1/1 s:64x48 i:P"
            facts.note(f"[Parsed_showinfo@{which} @ 0x1] ", "info", line)
        found.append(facts.stamp()[1])
    assert found == expected
    assert facts.implausible == odd


def test_one_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Two copies of a stream, one after the other: what comes of `cat`."""
    one = clips.write(tmp_path / "a.mkv", clips.numbered(5), "-c:v", "mjpeg", "-f", "matroska", "-live", 1)
    path = tmp_path / "b.mkv"
    path.write_bytes(one.read_bytes() * 2)
    with open_source(str(path)) as source:
        times = [frame.time for frame in source]
    assert times == [Fraction(number, RATE) for number in range(len(times))]
    assert len(times) == 10
    assert [message for message in caplog.messages if "damaged" not in message] == [WARNED.format(path, 5)]
