from __future__ import annotations

import io
import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from flowcli.cli.batch import parse_share
from flowcli.cli.main import main
from flowcli.flowfile import read_flow
from flowcli.output.kinds import CONTAINERS
from flowcli.pictures import read_picture
from flowcli.weights import entries
from tests.batch.warm import tree
from tests.folders import touch
from tests.tiny import DOWN, alive, children, start, write_pictures
from tests.video.clips import lavfi

CPU = ("--device", "cpu", "--precision", "fp32")


@pytest.fixture(autouse=True)
def _inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: Path) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """clips/a/v.mkv of 4 frames and clips/f, a folder of 3."""
    (tmp_path / "clips" / "a").mkdir(parents=True)
    lavfi(tmp_path / "clips" / "a" / "v.mkv", "testsrc=size=64x48:rate=10:duration=0.4", "-c:v", "ffv1")
    return write_pictures(tmp_path / "clips" / "f", 3).parent


def names(folder: str) -> set[str]:
    return {name for name in tree(Path(folder)) if not name.endswith("/")}


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_a_tree_of_outputs(clips: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["batch", "clips", "--out", "out", "--as", "color", "--as", "flo", "--both", *CPU]) == 0
    vectors = [f"a/v/{index:06d}{tag}.flo" for index in range(3) for tag in ("", "_bwd")]
    pictures = [f"f/f{index}{tag}.flo" for index in range(2) for tag in ("", "_bwd")]
    videos = [f"{name}{tag}.mp4" for name in ("a/v", "f") for tag in ("", "_bwd")]
    assert names("out") == {*vectors, *pictures, *videos}
    uv, _ = read_flow("out/f/f1.flo")
    assert uv[0].mean() == pytest.approx(10)
    out, err = capsys.readouterr()
    assert out == ""
    *warnings, summary = err.splitlines()
    even = "is 18x14: H.264 needs even sizes, the border is repeated"
    assert warnings == [f"warning: {Path.cwd()}/out/{name}.mp4 {even}" for name in ("f", "f_bwd")]
    assert summary.startswith("2 items: 2 done; 5 flows in ")
    before = {path: path.stat().st_mtime_ns for path in Path("out").rglob("*")}
    assert main(["batch", "clips", "--out", "out", "--as", "color", "--as", "flo", "--both", *CPU]) == 0
    assert capsys.readouterr().err == "2 items: 2 skipped\n"
    assert {path: path.stat().st_mtime_ns for path in Path("out").rglob("*") if path.name[0] != "."} == before


@pytest.mark.slow
def test_color_is_the_default_and_names_follow_the_template(clips: Path) -> None:
    assert main(["batch", "clips/*", "--out", "out", "--name", "{what}/{folder}-{name}", *CPU, "-q"]) == 0
    assert names("out") == {"color/a-v.mkv.mp4", "color/-f.mp4"}


def test_masks_and_styles(clips: Path) -> None:
    kinds = ("--as", "occlusion.png", "--as", "warp.png", "--as", "color", "--style", "hsv", "--name", "{stem}/{what}")
    assert main(["batch", "clips/f", "--out", "out", *kinds, *CPU, "-q"]) == 0
    assert names("out") == {
        "f/color.mp4",
        *(f"f/{kind}/f{number}.png" for kind in ("occlusion", "warp") for number in (0, 1)),
    }
    outs = ("-o", "w/", "-o", "c.mp4", "--as", "warp", "--as", "hsv", "--occlusion", "o/")
    assert main(["estimate", "clips/f", *outs, *CPU, "-q"]) == 0
    assert tree(Path("out/f/occlusion")) == tree(Path("o"))
    assert tree(Path("out/f/warp")) == tree(Path("w"))
    assert Path("out/f/color.mp4").read_bytes() == Path("c.mp4").read_bytes()


@pytest.mark.slow
def test_every_format_is_the_same_bit_for_bit(clips: Path) -> None:
    kinds = [f"{what}.{name}" for name, form in CONTAINERS.items() if form.place != "stdout" for what in form.whats[:1]]
    kinds += ["warp.webm", "occlusion", "confidence.png"]
    arguments = ["batch", "clips", "--name", "{what}/{format}/{stem}", *CPU, "-q", "--holes", "keep"]
    arguments += [word for kind in kinds for word in ("--as", kind)]
    assert main([*arguments, "--out", "one"]) == 0
    # Times in files are in seconds.
    time.sleep(1.1)
    assert main([*arguments, "--out", "other"]) == 0
    one = tree(Path("one"))
    assert {"/".join(name.split("/")[:2]) for name in one if name.count("/") > 1} == {
        "{}/{}".format(*kind.split(".")) if "." in kind else f"{kind}/mp4" for kind in kinds
    }
    assert one == tree(Path("other"))


@pytest.mark.slow
def test_failures_end_in_a_table(clips: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("clips/[bold].mp4").write_text("no video")
    Path("list.txt").write_text("clips\nclips/missing.mkv\n")
    arguments = ["batch", "list.txt", "--out", "out", "--as", "flo", *CPU]
    for more, count in (((), "2 done"), ((), "2 skipped"), (("--retry",), "2 skipped")):
        assert main([*arguments, *more]) == 3
        out, err = capsys.readouterr()
        assert out == ""
        first, head, bad, missing, error, hint = err.splitlines()
        assert first.startswith(f"4 items: {count}, 2 failed")
        assert head.split() == ["failed", "error"]
        assert bad.split(maxsplit=1)[0] == "[bold].mp4"
        assert bad.split(maxsplit=1)[1].startswith("not a video: ")
        assert missing.split(maxsplit=1)[0] == "missing.mkv"
        assert missing.split(maxsplit=1)[1].rstrip() == f"no such file: {clips}/missing.mkv"
        assert (error, hint) == ("error: 2 of 4 items failed", "hint: the same command with --retry tries again")
    (clips / "f" / "f0.png").rename(clips / "f" / "f3.png")
    (clips / "[bold].mp4").unlink()
    (clips / "a" / "v.mkv").rename(clips / "missing.mkv")
    assert main(arguments) == 0
    assert capsys.readouterr().err.startswith("2 items: 2 done; 5 flows in ")


def test_a_log_for_machines(clips: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("clips/bad.mp4").write_text("no video")
    arguments = ["batch", "clips", "--out", "out", "--as", "flo", *CPU, "--json", "-q"]
    assert main(arguments) == 3
    out, err = capsys.readouterr()
    assert err.splitlines()[0] == "error: 1 of 3 items failed"
    records = {record["item"]: record for record in lines(out)}
    assert {name: (each["status"], each["frames"], each["flows"]) for name, each in records.items()} == {
        "a/v.mkv": ("done", 4, 3),
        "bad.mp4": ("failed", 0, 0),
        "f": ("done", 3, 2),
    }
    assert records["f"]["outputs"] == [
        {
            "path": "f",
            "files": 2,
            "size": 2 * (12 + 8 * 13 * 18),
            "names": [["f0.flo", 2]],
            "kind": "flow.flo",
            "settings": {"model": "rpwc", "weights": entries.resolve("rpwc").sha256, "precision": "fp32"},
        }
    ]
    assert records["f"]["weights"] == entries.resolve("rpwc").sha256
    assert main(arguments) == 3
    again = {record["item"]: record["status"] for record in lines(capsys.readouterr().out)}
    assert again == {"a/v.mkv": "skipped", "bad.mp4": "failed", "f": "skipped"}


@pytest.mark.slow
def test_a_dataset_for_two_stream_networks(clips: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Frames beside their flow, resized, and numbers; one kind after the other is the same as all at once."""
    lavfi(clips / "one.mkv", "testsrc=size=64x48:rate=10", "-frames:v", 1, "-c:v", "ffv1")
    whole = ("batch", "clips", "--short-side", "8", *CPU)
    kinds = [("--as", "tsn"), ("--as", "rgb"), ("--as", "stats")]
    assert main([*whole, "--out", "out", *kinds[0], *kinds[1], *kinds[2]]) == 0
    told = capsys.readouterr().err.splitlines()
    assert told[0].startswith("3 items: 2 done, 1 skipped; 5 flows in ")
    assert told[1:] == ["skipped, only one frame: one.mkv"]
    tsn = [f"a/v/flow_{axis}_{number:05d}.jpg" for axis in "xy" for number in (1, 2, 3)]
    tsn += [f"f/flow_{axis}_{number:05d}.jpg" for axis in "xy" for number in (1, 2)]
    rgb = [*(f"a/v/img_{number:05d}.jpg" for number in (1, 2, 3, 4)), *(f"f/img_{n:05d}.jpg" for n in (1, 2, 3))]
    assert names("out") == {*tsn, *rgb, "a/v.csv", "f.csv"}
    for number in (1, 2, 3):
        picture = read_picture(Path(f"out/f/img_{number:05d}.jpg"))
        assert picture.shape == (8, 11, 3)
        assert abs(picture.astype(int) - 10 * (number - 1)).max() <= 1
    rows = Path("out/f.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["frame", "0", "1", "2"]
    speed = rows[0].split(",").index("speed_mean")
    assert rows[1].split(",")[speed] == ""
    assert [float(row.split(",")[speed]) for row in rows[2:]] == pytest.approx([math.hypot(10, DOWN)] * 2, abs=1e-4)
    for kind in kinds:
        assert main([*whole, "--out", "other", *kind, "-q"]) == 0
    assert tree(Path("out")) == tree(Path("other"))
    records = {record["item"]: record for record in lines(Path("other/manifest.jsonl").read_text())}
    network = {"model": "rpwc", "weights": entries.resolve("rpwc").sha256, "precision": "fp32"}
    assert [(each["kind"], each["settings"]) for each in records["f"]["outputs"]] == [
        ("flow.tsn", {"short-side": "8", **network}),
        ("rgb.jpg", {"short-side": "8"}),
        ("stats.csv", {"short-side": "8", **network}),
    ]
    capsys.readouterr()
    assert main([*whole, "--out", "other", *kinds[0], "--max-side", "12"]) == 1
    assert capsys.readouterr().err.splitlines() == [
        f"error: made with other options: {Path.cwd()}/other/a/v, and 1 more (max-side default, now 12)",
        "hint: pass -y to make them anew, or choose another folder, or a --name",
    ]


def test_verbose_tells_each_item(clips: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["batch", "clips/f", "--out", "out", "--as", "flo", *CPU, "-v"]) == 0
    told = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("info: ")]
    assert told[0].startswith("done f: 2 flows, ")
    assert told[1].startswith("1 item: 1 done; ")


def test_shards_are_parts_of_the_whole(tmp_path: Path) -> None:
    for name in "abcde":
        write_pictures(tmp_path / name, 2)
    arguments = ["batch", *"edcba", "--as", "flo", *CPU, "-q"]
    assert main([*arguments, "--out", "whole"]) == 0
    parts = []
    for part in (1, 2, 3):
        assert main([*arguments, "--out", "out", "--shard", f"{part}/3", "--json"]) == 0
        parts.append(set(Path("out").iterdir()))
    assert [len(part) for part in parts] == [3, 6, 8]
    assert {path.name for path in parts[0]} == {"a", "d", "manifest-1of3.jsonl"}
    assert tree(Path("out")) == tree(Path("whole"))


def test_a_run_without_shards_knows_what_they_did(clips: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["batch", "clips", "--out", "out", "--as", "flo", *CPU]
    assert main([*arguments, "--shard", "2/2"]) == 0
    assert main(arguments) == 0
    assert capsys.readouterr().err.splitlines()[1].startswith("2 items: 1 done, 1 skipped; ")


@pytest.mark.slow
def test_names_on_stdin(clips: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"clips/a/v.mkv\nclips/f\n")))
    assert main(["batch", "-", "--root", ".", "--out", "out", *CPU, "-q"]) == 0
    assert names("out") == {"clips/a/v.mp4", "clips/f.mp4"}


def test_selection_and_engine_are_those_of_estimate(clips: Path) -> None:
    options = ["--start", "1", "--backward", "--last", "zero", *CPU, "-q"]
    assert main(["batch", "clips/f", "--out", "out", "--as", "flo", *options]) == 0
    assert main(["estimate", "clips/f", "--out", "one/", *options]) == 0
    assert tree(Path("out/f")) == tree(Path("one"))
    assert names("out/f") == {"f1.flo", "f2.flo"}


@pytest.mark.parametrize(
    ("arguments", "code", "error", "hint"),
    [
        ("clips", 2, "Missing option '-o' / '--out'.", "flowcli batch --help shows what there is"),
        ("--out out", 2, "Missing argument 'INPUT...'.", "flowcli batch --help shows what there is"),
        (
            "clips --out out --shard 0/3",
            2,
            "Invalid value for '--shard': '0/3' is not a part of the batch (1/8, 2/8 ... 8/8)",
            "flowcli batch --help shows what there is",
        ),
        ("clips --out out --as zzz", 2, "unknown kind of output: --as zzz", None),
        ("clips --out out --as nut", 2, "nut is for stdout: --as nut", None),
        ("clips --out out --stop 0", 2, "--stop is not after --start", None),
        ("no --out out", 1, "no such file: no", "check the name"),
        ("clips --out clips", 2, "outputs would lie among the inputs: {}/clips", "choose another folder for --out"),
        ("clips --out out -m rpcw", 1, "unknown model: rpcw", "did you mean rpwc?"),
        ("clips --out out --device cuda:99", 1, "no *", None),
        ("clips --out file", 1, "cannot write {}/file: File exists", None),
    ],
)
def test_errors_come_before_any_work(
    clips: Path, arguments: str, code: int, error: str, hint: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("file").write_text("mine")
    assert main(["batch", *arguments.split(), "-q"]) == code
    out, err = capsys.readouterr()
    assert out == ""
    first, second = err.splitlines()
    error = error.format(Path.cwd())
    assert first.startswith(f"error: {error[:-1]}") if error.endswith("*") else first == f"error: {error}"
    assert hint is None or second == f"hint: {hint}"
    assert names("clips") == {"a/v.mkv", *(f"f/f{index}.png" for index in range(3))}
    assert not Path("out").exists() or names("out") == set()
    assert Path("file").read_text() == "mine"


def test_parts() -> None:
    assert parse_share("2/8") == (2, 8)
    for text in ("", "1", "0/2", "3/2", "-1/2", "1/0", "a/b", "1/2/3", "1.0/2"):
        with pytest.raises(ValueError, match=r"^a part of the batch "):
            parse_share(text)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks for child processes in /proc")
def test_interrupted_in_the_middle(table: Path, tmp_path: Path) -> None:
    lavfi(tmp_path / "long.mkv", "testsrc=size=64x48:rate=100:duration=20", "-c:v", "ffv1")
    lavfi(tmp_path / "a.mkv", "testsrc=size=64x48:rate=10:duration=0.3", "-c:v", "ffv1")
    arguments = ["batch", "a.mkv", "long.mkv", "--out", "out", *CPU]
    process = start(table, arguments, stderr=subprocess.PIPE)
    try:
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob("out/.manifest.*/1/*/.flowcli-*/*.mp4")):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        below = children(process.pid)
        assert below
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=30)
        assert (process.returncode, err) == (130, b"interrupted\n")
        assert not [pid for pid in below if alive(pid)]
        assert sorted(os.listdir("out")) == ["a.mp4", "manifest.jsonl"]
    finally:
        process.kill()
        process.communicate()


def test_what_is_left_out_is_said_and_written_down(clips: Path, capsys: pytest.CaptureFixture[str]) -> None:
    touch(*(f"{clips}/{name}" for name in ("a/one.png", "a/two.png", "poster.png", "f/deep/cover.png")))
    arguments = ["batch", "clips", "--out", "out", "--as", "flo", "--model", "dis"]
    left_out = [
        f"left out, pictures beside videos: {clips}/a",
        f"left out, a picture is no sequence: {clips}/f/deep/cover.png and 1 more",
    ]
    for _ in range(2):
        assert main(arguments) == 0
        assert capsys.readouterr().err.splitlines()[1:] == left_out
    records = [record for record in lines(Path("out/manifest.jsonl").read_text()) if record["status"] == "left out"]
    assert {(record["item"], record["error"]) for record in records} == {
        (f"{clips}/a", "pictures beside videos"),
        (f"{clips}/f/deep/cover.png", "a picture is no sequence"),
        (f"{clips}/poster.png", "a picture is no sequence"),
    }
    assert len(records) == 3
