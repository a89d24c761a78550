"""What Ctrl-C leaves of the outputs; the signal comes when a certain item is made."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flowcli.cli import writing
from flowcli.cli.main import main
from flowcli.cli.progress import SOON, pace
from flowcli.pictures import write_picture
from flowcli.video import open_source
from tests import tiny

COUNT = 6
CPU = ("--device", "cpu")
LOST = "interrupted: nothing was kept; --keep-partial keeps what is done\n"

Interrupt = Callable[..., None]


@pytest.fixture
def interrupt(monkeypatch: pytest.MonkeyPatch) -> Interrupt:
    """Has signals come while these items are made."""

    def at(*places: int, number: signal.Signals = signal.SIGINT) -> None:
        def track(items: Iterator[Any], *_arguments: object, show: bool) -> Iterator[Any]:
            for place, item in enumerate(items):
                for _ in range(places.count(place)):
                    signal.raise_signal(number)
                yield item

        monkeypatch.setattr(writing, "track", track)

    return at


@pytest.fixture(autouse=True)
def pictures(tmp_path: Path, table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tiny.write_pictures(Path("in"), COUNT)
    write_picture(Path("mask.png"), np.tile(np.array([0, 255], np.uint8), (13, 9)))


def names(folder: str) -> list[str]:
    return sorted(path.name for path in Path(folder).iterdir())


def frames_of(path: str) -> int:
    with open_source(path) as source:
        return sum(1 for _ in source)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_is_done_is_kept_where_it_is_wanted(
    interrupt: Interrupt, capsys: pytest.CaptureFixture[str], number: signal.Signals
) -> None:
    interrupt(2, number=number)
    words = ("estimate", "in", "-o", "a.webm", "-o", "flow/", *CPU)
    assert main([*words, "--keep-partial", "--json"]) == 130
    out, err = capsys.readouterr()
    said = json.loads(out)
    assert (said["partial"], said["pairs"], err) == (True, 3, "interrupted\n")
    assert frames_of("a.webm") == 3
    assert names("flow") == ["f0.flo", "f1.flo", "f2.flo"]
    assert main([*words, "-y", "--keep-partial"]) == 130
    assert capsys.readouterr().err.startswith("wrote a part of a.webm, flow/: 3 flows, 18x13, ")
    Path("a.webm").unlink()
    shutil.rmtree("flow")
    assert main(list(words)) == 130
    assert capsys.readouterr().err == LOST
    assert not Path("a.webm").exists()
    assert not Path("flow").exists()


def test_the_second_time_nothing_is_kept(interrupt: Interrupt, capsys: pytest.CaptureFixture[str]) -> None:
    interrupt(2, 2)
    assert main(["estimate", "in", "-o", "flow/", *CPU, "--keep-partial"]) == 130
    assert capsys.readouterr().err == "interrupted: nothing was kept\n"
    assert not Path("flow").exists()


def test_what_is_whole_anyway_is_no_part(interrupt: Interrupt, capsys: pytest.CaptureFixture[str]) -> None:
    interrupt(COUNT - 2)
    assert main(["estimate", "in", "-o", "flow/", *CPU, "--keep-partial", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["partial"], said["pairs"]) == (False, COUNT - 1)


def test_frames_and_masks(interrupt: Interrupt, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (("interpolate", "in", "--fps", "x2", "--model", "blend"), ("propagate", "in", "--masks", "mask.png")):
        interrupt(2)
        assert main([*words, "-o", words[0], *CPU]) == 130
        assert capsys.readouterr().err == LOST
        assert not Path(words[0]).exists()
        assert main([*words, "-o", words[0], *CPU, "--keep-partial", "--json"]) == 130
        said = json.loads(capsys.readouterr().out)
        assert (said["partial"], said["frames"], len(names(words[0]))) == (True, 3, 3)


def test_a_command_without_the_option_does_not_name_it(
    interrupt: Interrupt, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["estimate", "in", "-o", "flow/", *CPU, "-q"]) == 0
    interrupt(1)
    assert main(["convert", "flow/", "-o", "npy/", "--as", "npy"]) == 130
    assert capsys.readouterr().err == "interrupted: nothing was kept\n"


@pytest.mark.parametrize(
    ("done", "total", "seconds", "said"),
    [
        (0, 39, 5.0, ""),
        (8, 39, 0.0001, ""),
        (8, 39, SOON / 2, ""),
        (1, 39, 60.0, ""),
        (10, 40, 4.0, "2.5 per second, 0:00:12 left"),
        (10, None, 4.0, "2.5 per second"),
        (2, 14402, 1.0, "2.0 per second, 2:00:00 left"),
        (41, 40, 4.0, "10.2 per second, 0:00:00 left"),
    ],
)
def test_the_pace_is_said_as_soon_as_it_is_known(done: int, total: int | None, seconds: float, said: str) -> None:
    assert pace(done, total, seconds) == said
