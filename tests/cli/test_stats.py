from __future__ import annotations

import csv
import io
import json
import subprocess
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flowcli.cli.main import main
from flowcli.motion.scenes import Scene, write_edl
from flowcli.motion.stats import RANGED
from flowcli.weights import entries
from tests.moving import HEIGHT, WIDTH, camera, square, write
from tests.tiny import DOWN, start, write_pictures

CPU = ("--device", "cpu", "--precision", "fp32")
DIS = ("--model", "dis")


def rows(clip: Path, *options: str) -> list[dict[str, Any]]:
    """What `flowcli stats` finds in a clip."""
    out = clip.with_suffix(".jsonl")
    assert main(["stats", str(clip), "-o", str(out), "-y", "-q", *options]) == 0
    return [json.loads(line) for line in out.read_text().splitlines()]


def medians(found: list[dict[str, Any]], *columns: str) -> list[float]:
    """The median over the frames with motion, of which there must be many."""
    known = [row for row in found if row["pan"] is not None]
    assert len(known) >= len(found) - 1
    return [float(np.median([row[column] for row in known])) for column in columns]


@pytest.mark.slow
@pytest.mark.parametrize("model", ["dis", pytest.param("rpwc", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "motion",
    [{}, {"pan": 3}, {"pan": -2, "tilt": 1.5}, {"zoom": 1.03}, {"zoom": 0.97}, {"roll": 2}, {"roll": -1.5, "pan": 2}],
    ids=["still", "right", "left and down", "in", "out", "clockwise", "counterclockwise and right"],
)
def test_camera(model: str, motion: dict[str, Any], tmp_path: Path) -> None:
    found = rows(write(tmp_path / "a.mkv", camera(6, **motion)), "--model", model, *CPU)
    expected = {"pan": 0, "tilt": 0, "zoom": 1, "roll": 0, **motion}
    pan, tilt, zoom, roll = medians(found, "pan", "tilt", "zoom", "roll")
    assert (pan, tilt) == pytest.approx((expected["pan"], expected["tilt"]), abs=0.1)
    assert zoom == pytest.approx(expected["zoom"], abs=0.002)
    assert roll == pytest.approx(expected["roll"], abs=0.1)
    assert medians(found, "object_speed")[0] < 0.3
    assert medians(found, "object_area")[0] < 0.15
    assert not any(row["cut"] for row in found)


@pytest.mark.slow
def test_a_thing_that_moves_before_a_camera_that_does_not(tmp_path: Path) -> None:
    found = rows(write(tmp_path / "a.mkv", square(6, side=32, u=0, v=5)), *CPU)
    share = 32 * 32 / (HEIGHT * WIDTH)
    pan, tilt, zoom, roll = medians(found, "pan", "tilt", "zoom", "roll")
    assert (pan, tilt, zoom, roll) == pytest.approx((0, 0, 1, 0), abs=0.05)
    area, moving, speed, direction, coherence = medians(
        found, "object_area", "moving_area", "speed_mean", "direction", "coherence"
    )
    assert area == pytest.approx(share, rel=0.4)
    assert moving == pytest.approx(area, abs=0.02)
    assert speed == pytest.approx(5 * share, rel=0.3)
    assert direction == pytest.approx(90, abs=8)
    assert coherence > 0.8
    assert medians(found, "speed_max")[0] == pytest.approx(5, abs=2)
    assert medians(found, "speed_median")[0] < 0.2


@pytest.mark.slow
def test_duplicates_and_a_flash(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = camera(10, pan=3)[[0, 1, 2, 3, 3, 4, 5, 6, 7, 8, 8, 9]]
    images[8] = 255
    clip = write(tmp_path / "a.mkv", images)
    found = rows(clip, *DIS)
    assert [row["frame"] for row in found if (row["duplicate"] or 0) > 0.9] == [4, 10]
    assert [row["frame"] for row in found if row["cut"]] == []
    assert (found[4]["speed_max"], found[3]["pan"]) == (pytest.approx(0, abs=0.05), pytest.approx(3, abs=0.1))
    assert main(["stats", str(clip), *DIS]) == 0
    assert "\nduplicates: 2, at 4, 10\n" in capsys.readouterr().out


@pytest.fixture
def cut(tmp_path: Path) -> Path:
    """Two shots with slow motion, the second from frame 7 on."""
    return write(tmp_path / "cut.mkv", np.concatenate([camera(7, pan=1), camera(6, tilt=1, number=1)]))


@pytest.mark.slow
def test_no_motion_across_a_cut(cut: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = rows(cut, *DIS)
    assert [row["frame"] for row in found if row["cut"]] == [7]
    assert [row["frame"] for row in found if row["speed_mean"] is None] == [0, 7]
    assert max(row["speed_p95"] for row in found if row["speed_p95"] is not None) < 1.5
    across = rows(cut, "--cuts", "off", *DIS)
    assert [row["frame"] for row in across if row["cut"]] == [7]
    assert across[7]["speed_p95"] > 5
    assert [row for row in across if row["frame"] != 7] == [row for row in found if row["frame"] != 7]
    note = "note: cuts were measured as motion: without --cuts off they are left out\n"
    for option, said in ((("--cuts", "off"), note), ((), "")):
        assert main(["stats", str(cut), *DIS, *option]) == 0
        assert capsys.readouterr().err == said


@pytest.mark.slow
def test_a_dissolve_is_measured_through(tmp_path: Path) -> None:
    one, other = camera(14, pan=1), camera(14, pan=1, number=1)
    shares = np.clip((np.arange(14) - 3) / 8, 0, 1)[:, None, None, None]
    clip = write(tmp_path / "a.mkv", np.rint(one * (1 - shares) + other * shares).astype(np.uint8))
    found = rows(clip, *DIS)
    assert [row["frame"] for row in found if row["speed_mean"] is None] == [0]


def test_both_ways(tmp_path: Path) -> None:
    clip = write(tmp_path / "a.mkv", camera(4, pan=3))
    assert {row["fb_error"] for row in rows(clip, *DIS)} == {None}
    found = rows(clip, *DIS, "--both")
    error, occluded = medians(found, "fb_error", "occluded")
    assert 0 < error < 0.5
    assert occluded == pytest.approx(3 / WIDTH, abs=0.02)


def test_selection_keeps_numbers_and_times(tmp_path: Path) -> None:
    clip = write(tmp_path / "a.mkv", camera(10, pan=1))
    found = rows(clip, *DIS, "--start", "2", "--stop", "0.9s", "--every", "3")
    assert [(row["frame"], row["time"]) for row in found] == [(2, 0.2), (5, 0.5), (8, 0.8)]
    assert medians(found, "pan")[0] == pytest.approx(3, abs=0.1)


@pytest.fixture
def pictures(tmp_path: Path, table: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Five pictures; the network `brightness` finds that all of them moves by 10 to the right and half a pixel down."""
    monkeypatch.chdir(tmp_path)
    return write_pictures(tmp_path / "in", 5)


def test_table(pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stats", str(pictures), *CPU]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    first, cuts, duplicates, direction, header, *lines = out.splitlines()
    assert first == f"{pictures}: 5 frames of 18x13, 4 of them with motion"
    assert (cuts, duplicates) == ("cuts: 0", "duplicates: 0")
    assert direction == "direction: 3 degrees (0 right, 90 down), coherence 1.00"
    assert header.split() == ["column", "mean", "least", "most", "at", "frame"]
    table = {line.split()[0]: line.split()[1:] for line in lines}
    assert list(table) == [name for name in RANGED if name not in ("fb_error", "occluded")]
    assert table["speed_mean"] == ["10.012", "10.012", "10.012", "1"]
    assert table["pan"][:3] == ["10.000"] * 3
    assert table["tilt"][:3] == ["0.500"] * 3
    assert table["zoom"][:3] == ["1.0000"] * 3


def test_json(pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stats", str(pictures), *CPU, "-o", "a.csv", "--json"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    found = json.loads(out)
    entry = entries.resolve("rpwc")
    expected = {
        "frames": 5, "measured": 4, "width": 18, "height": 13, "device": "cpu", "precision": "fp32", "model": "rpwc",
        "weights": {"short": entry.sha256[:8], "sha256": entry.sha256}, "cuts": [], "duplicates": [],
        "outputs": [{"out": "a.csv", "kind": "csv"}],
    }  # fmt: skip
    assert {name: found[name] for name in expected} == expected
    assert found["seconds"] > 0
    assert found["direction"] == pytest.approx(np.degrees(np.arctan2(DOWN, 10)), abs=1e-3)
    assert set(found["columns"]) == set(RANGED) - {"fb_error", "occluded"}
    pan = found["columns"]["pan"]
    assert set(pan) == {"mean", "least", "most", "at"}
    assert pan["mean"] == pytest.approx(10, abs=1e-3)


@pytest.mark.slow
def test_all_outputs_in_one_pass(pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outputs = ["rows.csv", "rows.jsonl", "rows.parquet", "plot.png", "plot.svg"]
    assert main(["stats", str(pictures), *CPU, "-q", *(word for name in outputs for word in ("-o", name))]) == 0
    assert capsys.readouterr() == ("", "")
    assert {path.name for path in tmp_path.iterdir()} == {*outputs, "in", "weights"}
    with open("rows.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["frame"] for line in lines] == list("01234")
    assert [float(line["pan"]) for line in lines[1:]] == pytest.approx([10] * 4, abs=1e-3)


def test_rows_on_stdout(pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stats", str(pictures), *CPU, "-o", "-"]) == 0
    out, err = capsys.readouterr()
    assert [line.split(",")[0] for line in out.splitlines()] == ["frame", *"01234"]
    assert err.splitlines()[0].endswith(" 4 of them with motion")
    assert main(["stats", str(pictures), *CPU, "-o", "-", "--as", "jsonl", "--json"]) == 0
    out, err = capsys.readouterr()
    assert [json.loads(line)["frame"] for line in out.splitlines()] == list(range(5))
    assert json.loads(err)["outputs"] == [{"out": "-", "kind": "jsonl"}]


@pytest.mark.slow
def test_from_stdin(tmp_path: Path, table: Path) -> None:
    clip = write(tmp_path / "a.mkv", camera(4, pan=1))
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = start(table, ["stats", "-", "-o", "-", "-q", *CPU], **pipes)
    out, err = process.communicate(clip.read_bytes(), timeout=60)
    assert (process.returncode, err) == (0, b"")
    assert [line.split(b",")[:2] for line in out.splitlines()[1:]] == [
        [b"0", b"0.0"], [b"1", b"0.1"], [b"2", b"0.2"], [b"3", b"0.3"],
    ]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("more", [(), ("-o", "rows.csv")])
def test_reader_that_goes_away(more: tuple[str, ...], pictures: Path, table: Path, tmp_path: Path) -> None:
    write_pictures(tmp_path / "many", 25)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = start(table, ["stats", "many", "-o", "-", "-q", *more, *CPU], **pipes)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.wait(timeout=60) == (1 if more else 0)
    said = process.stderr.read().decode()
    process.stderr.close()
    lost = "error: the reader of stdout went away: rows.csv not written\nhint: leave out --out -\n"
    assert said == (lost if more else "")
    assert not Path("rows.csv").exists()


def test_errors(pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = write_pictures(tmp_path / "one", 1)
    damaged = write_pictures(tmp_path / "damaged", 4)
    (damaged / "f2.png").write_bytes(b"not a picture")
    there = tmp_path / "there.csv"
    there.write_text("mine")
    before = {path.name for path in tmp_path.iterdir()}
    cases: dict[tuple[str, ...], tuple[int, str, str]] = {
        (str(pictures), "-o", "there.csv"): (
            1, "output exists already: there.csv", "pass -y to replace it, or choose another name",
        ),
        (str(pictures), "-o", "a.txt"): (
            1, "unknown suffix .txt: a.txt", "use .csv .json .jsonl .parquet .png .svg, or name it by --as",
        ),
        (str(pictures), "-o", "a.csv", "-m", "rpcw"): (
            1, "unknown model: rpcw", "did you mean rpwc?",
        ),
        (str(pictures), "-o", "-", "--as", "png"): (
            2, "png cannot be written to stdout", "use --as csv or --as jsonl",
        ),
        (str(one), "-o", "a.csv"): (1, f"only one frame in {one}", "flow needs two frames"),
        (str(damaged), "-o", "a.csv", "-o", "a.svg"): (
            1, f"not a picture, or a damaged one: {damaged / 'f2.png'}", "remove it, or convert it to PNG",
        ),
        (f"{pictures}/f0.png", f"{pictures}/f1.png", "-o", f"{pictures}/f1.png", "-y"): (
            1, f"output would replace the input: {pictures}/f1.png", "choose another name",
        ),
        (str(pictures), "--stop", "0"): (
            2, "--stop is not after --start", "stop is exclusive: --start 10 --stop 12 takes frames 10 and 11",
        ),
    }  # fmt: skip
    for arguments, (code, error, hint) in cases.items():
        assert main(["stats", *arguments, *CPU]) == code
        assert capsys.readouterr() == ("", f"error: {error}\nhint: {hint}\n")
        assert {path.name for path in tmp_path.iterdir()} == before
    assert there.read_text() == "mine"


EDL = """TITLE: cut.mkv
FCM: NON-DROP FRAME

001  AX       V     C        00:00:00:00 00:00:00:07 00:00:00:00 00:00:00:07
* FROM CLIP NAME: cut.mkv

002  AX       V     C        00:00:00:07 00:00:01:03 00:00:00:07 00:00:01:03
* FROM CLIP NAME: cut.mkv
"""


@pytest.mark.slow
def test_scenes(cut: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    expected = [
        {"scene": 1, "start": 0, "end": 6, "frames": 7, "start_time": 0.0, "end_time": 0.7},
        {"scene": 2, "start": 7, "end": 12, "frames": 6, "start_time": 0.7, "end_time": 1.3},
    ]
    assert main(["stats", str(cut), *DIS, "--scenes", "scenes.json", "-q"]) == 0
    assert json.loads(Path("scenes.json").read_text()) == expected
    assert main(["stats", str(cut), *DIS, "--scenes", "scenes.csv", "--start", "5", "-q"]) == 0
    lines = Path("scenes.csv").read_text().splitlines()
    assert lines == ["scene,start,end,frames,start_time,end_time", "1,5,6,2,0.5,0.7", "2,7,12,6,0.7,1.3"]
    assert main(["stats", str(cut), *DIS, "--scenes", "scenes.edl", "--cuts", "off", "-q"]) == 0
    assert Path("scenes.edl").read_text() == EDL
    capsys.readouterr()
    for name, message in (
        ("scenes.edl", "error: output exists already: scenes.edl"),
        ("scenes.svg", "error: unknown suffix .svg: scenes.svg"),
        ("-", "error: a list of shots is no stream"),
        ("rows.csv", "error: two outputs have the same name: rows.csv"),
    ):
        assert main(["stats", str(cut), *DIS, "--scenes", name, "-o", "rows.csv"]) != 0
        assert capsys.readouterr().err.splitlines()[0] == message
    assert not Path("rows.csv").exists()


def test_time_codes_over_an_hour() -> None:
    out = io.StringIO()
    write_edl(out, [Scene(1, 0, 107_999, 108_000, 0.0, 3603.6)], "a.mp4", Fraction(30000, 1001))
    assert "00:00:00:00 01:00:00:00" in out.getvalue()


@pytest.mark.slow
def test_several_inputs(
    cut: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "a.mkv", camera(4, pan=3))
    assert main(["stats", "a.mkv", "cut.mkv", *DIS, "-o", "rows.csv"]) == 0
    out = capsys.readouterr().out
    assert [line for line in out.splitlines() if " frames of " in line] == [
        "a.mkv: 4 frames of 144x96, 3 of them with motion",
        "cut.mkv: 13 frames of 144x96, 11 of them with motion",
    ]
    with Path("rows.csv").open(encoding="utf-8") as file:
        found = list(csv.DictReader(file))
    assert [(row["input"], row["frame"]) for row in found] == [
        *(("a.mkv", str(index)) for index in range(4)),
        *(("cut.mkv", str(index)) for index in range(13)),
    ]
    alone = rows(tmp_path / "cut.mkv", *DIS)
    assert [row["pan"] for row in found[4:]] == ["" if row["pan"] is None else str(row["pan"]) for row in alone]
    assert main(["stats", "a.mkv", "cut.mkv", *DIS, "--json"]) == 0
    assert [json.loads(line)["input"] for line in capsys.readouterr().out.splitlines()] == ["a.mkv", "cut.mkv"]
    assert main(["stats", "a.mkv", "cut.mkv", *DIS, "--scenes", "s.csv", "-q"]) == 0
    assert Path("s.csv").read_text().splitlines() == [
        "scene,start,end,frames,start_time,end_time,input",
        "1,0,3,4,0.0,0.4,a.mkv",
        "1,0,6,7,0.0,0.7,cut.mkv",
        "2,7,12,6,0.7,1.3,cut.mkv",
    ]
    for words, what in ((("--scenes", "s.edl"), "a cut list"), (("-o", "s.svg"), "a plot")):
        assert main(["stats", "a.mkv", "cut.mkv", *DIS, *words]) == 2
        assert capsys.readouterr().err == (
            f"error: {what} is of a single input: {words[1]}\nhint: give one input, or .csv for all of them\n"
        )
    assert main(["stats", "a.mkv", "gone.mkv", *DIS, "-o", "none.csv"]) == 1
    assert capsys.readouterr().err.splitlines()[0] == "error: no such file: gone.mkv"
    assert not Path("none.csv").exists()
