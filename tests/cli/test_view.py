from __future__ import annotations

import json
import webbrowser
from pathlib import Path
from urllib.parse import unquote, urlparse

import numpy as np
import pytest

from flowcli.cli.main import main
from flowcli.flowfile import write_flow
from flowcli.pictures import write_picture
from flowcli.view.coding import PackedFlow, unpack_flow
from tests.moving import HEIGHT, WIDTH, camera, write
from tests.view.looks import facts, stored

DIS = ("--model", "dis", "--max-side", "96")


@pytest.fixture(autouse=True)
def _inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def clip() -> Path:
    return write(Path("in.mkv"), camera(4, pan=2))


@pytest.fixture
def flow() -> Path:
    """A folder of two flows of the size of the clip."""
    Path("flow").mkdir()
    for number in range(2):
        write_flow(f"flow/{number:04d}.flo", np.full((2, HEIGHT, WIDTH), number + 0.52, np.float32))
    return Path("flow")


def test_a_video(clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["view", str(clip), "-o", "look.html", *DIS]) == 0
    out, err = capsys.readouterr()
    size = Path("look.html").stat().st_size / 1e6
    assert (out, err) == (
        "",
        f"wrote look.html: 4 frames, 144x96, {size:.1f} MB; values of flow are at most 0.02 px off\n",
    )
    found = facts(Path("look.html"))
    assert (found["names"], found["pictures"]) == (["dis"], True)
    assert [len(each["steps"]) for each in found["frames"]] == [1, 1, 1, 0]
    assert found["frames"][0]["speed_mean"] == pytest.approx([2], abs=0.3)


def test_two_pictures_that_differ_are_a_pair() -> None:
    for number, image in enumerate([*camera(1), *camera(1, number=2)]):
        write_picture(Path(f"{number}.png"), image)
    assert main(["view", "0.png", "1.png", "-o", "look.html", "-q", *DIS]) == 0
    assert [len(each["steps"]) for each in facts(Path("look.html"))["frames"]] == [1, 0]


@pytest.mark.parametrize(("cuts", "flows"), [("auto", [1, 1, 1, 0, 1, 1, 1, 0]), ("off", [1] * 7 + [0])])
def test_cuts(cuts: str, flows: list[int]) -> None:
    write(Path("two.mkv"), np.concatenate((camera(4, pan=1), camera(4, number=2))))
    assert main(["view", "two.mkv", "-o", "look.html", "-q", "--cuts", cuts, *DIS]) == 0
    assert [len(each["steps"]) for each in facts(Path("look.html"))["frames"]] == flows


def test_flow(flow: Path) -> None:
    assert main(["view", "flow", "-o", "look.html", "-q"]) == 0
    found = facts(Path("look.html"))
    assert (found["names"], found["pictures"], len(found["frames"])) == (["flow"], False, 2)
    data = stored(Path("look.html"), "flow-0-1")
    assert data is not None
    assert np.abs(unpack_flow(PackedFlow(data, HEIGHT, WIDTH, 0.04)) - 1.52).max() < 1e-5


@pytest.mark.parametrize("name", ["one.flo", "flow.npy", "flow.mkv", "tsn/"])
def test_flow_of_every_kind_is_told_from_pictures(name: str, flow: Path) -> None:
    if name == "one.flo":
        Path("flow/0000.flo").rename(name)
    else:
        kind = {"flow.mkv": ["--as", "flow"], "tsn/": ["--as", "tsn"]}.get(name, [])
        assert main(["convert", "flow", "-o", name, *kind, "-q"]) == 0
    assert main(["view", name, "-o", "look.html", "-q"]) == 0
    found = facts(Path("look.html"))
    assert not found["pictures"]
    assert found["frames"][0]["speed_mean"] == pytest.approx([0.52 * 2**0.5], abs=0.12)


def test_flow_over_its_frames(clip: Path, flow: Path) -> None:
    assert main(["view", "flow", "-o", "look.html", "-q", "--over", str(clip)]) == 0
    found = facts(Path("look.html"))
    assert (found["pictures"], [len(each["steps"]) for each in found["frames"]]) == (True, [1, 1, 0])


@pytest.mark.parametrize("versus", ["farneback", "other/"])
def test_versus(versus: str, clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if versus == "other/":
        assert main(["estimate", str(clip), "-o", versus, "-q", *DIS]) == 0
    assert main(["view", str(clip), "-o", "look.html", "--json", "--versus", versus, *DIS]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == {
        "out": "look.html",
        "bytes": Path("look.html").stat().st_size,
        "frames": 4,
        "every": 1,
        "spacing": 1,
        "shrink": 1,
        "error": 0.02,
    }
    found = facts(Path("look.html"))
    assert found["names"] == ["dis", versus.rstrip("/")]
    assert [len(each["steps"]) for each in found["frames"]] == [2, 2, 2, 0]
    same = stored(Path("look.html"), "flow-0-1") == stored(Path("look.html"), "flow-1-1")
    assert same == (versus == "other/")


def test_what_a_small_page_leaves_out_is_said(clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    many = write(Path("many.mkv"), camera(24, pan=1))
    assert main(["view", str(many), "-o", "look.html", "--max-size", "60k", *DIS]) == 0
    found = facts(Path("look.html"))
    assert Path("look.html").stat().st_size <= 60_000
    assert found["every"] > 1
    frames = -(-24 // found["every"])
    nth = "2nd" if found["every"] == 2 else f"{found['every']}th"
    assert capsys.readouterr().err == (
        f"wrote look.html: {frames} frames, 144x96, {Path('look.html').stat().st_size / 1e6:.1f} MB; "
        f"to keep it small: every {nth} frame only; values of flow are at most 0.06 px off\n"
    )


def test_without_out_the_browser_opens(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    opened: list[str] = []

    def open_address(address: str) -> bool:
        opened.append(address)
        return len(opened) == 1

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(webbrowser, "open", open_address)
    assert main(["view", str(clip), *DIS]) == 0
    (address,) = opened
    page = Path(unquote(urlparse(address).path))
    assert facts(page)["names"] == ["dis"]
    assert "note" not in capsys.readouterr().err
    assert main(["view", str(clip), *DIS]) == 0
    page = Path(unquote(urlparse(opened[1]).path))
    assert capsys.readouterr().err.splitlines()[-1] == f"note: no browser could be started: open {page} in one"


@pytest.mark.parametrize(
    ("arguments", "code", "message", "hint"),
    [
        ("in.mkv -o -", 2, "the page cannot go to standard output", "name a file: --out look.html"),
        ("in.mkv -o in.mkv -y", 1, "output would replace the input: in.mkv", "choose another name"),
        ("in.mkv -o flow", 1, "output is a folder, a file is needed: flow", "choose another name"),
        ("in.mkv -o a.html --over in.mkv", 2, "--over is for flow from files, and in.mkv has frames",
         "leave out --over"),
        ("flow -o in.mkv -y --over in.mkv", 1, "output would replace the input: in.mkv", "choose another name"),
        ("flow -o a.html --every 2", 2, "--start, --stop and --every are for frames, and the input is flow",
         "name the files to show, as 'flow/00[0-4]*.flo'"),
        ("none.mp4 -o a.html", 1, "no such file: none.mp4", "check the name"),
        ("flow -o a.html --over in.mkv --versus short", 1, "the flow to compare with ends early",
         "compare flows of the same frames"),
        ("in.mkv -o a.html --max-size 1k --model dis", 2, "a page of 1000 bytes has no room for a frame",
         "allow more by --max-size, or choose a smaller input"),
    ],
)  # fmt: skip
def test_mistakes(
    arguments: str, code: int, message: str, hint: str, clip: Path, flow: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("short").mkdir()
    write_flow("short/0000.flo", np.zeros((2, HEIGHT, WIDTH), np.float32))
    before = sorted(Path().rglob("*"))
    assert main(["view", *arguments.split(), "-q"]) == code
    assert capsys.readouterr().err == f"error: {message}\nhint: {hint}\n"
    assert sorted(Path().rglob("*")) == before


def test_a_size_that_is_none(clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["view", str(clip), "--max-size", "big"]) == 2
    assert "'big' is not a size (500k, 20M, 1G)" in capsys.readouterr().err


def test_an_unknown_model_to_compare_with(clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["view", str(clip), "-o", "a.html", "--versus", "dsi", *DIS]) == 1
    assert "dsi" in capsys.readouterr().err
    assert not Path("a.html").exists()
