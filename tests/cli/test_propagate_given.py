"""`flowcli propagate` with points, painted pictures and tensors."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from flowcli.cli.main import main
from flowcli.pictures import read_picture, read_unscaled, write_picture
from flowcli.video import open_source
from tests.carry.known import HEIGHT, WIDTH, Scene

SCENE = Scene(pan=1, step=(3, 1), side=25)
COUNT = 7
SIZE = f"{WIDTH}x{HEIGHT}"


@pytest.fixture(autouse=True)
def _inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    for index in range(COUNT):
        write_picture(Path("in") / f"f{index:02d}.png", SCENE.frame(index).image)


def propagate(*arguments: str) -> int:
    return main(["propagate", *arguments, "--device", "cpu", "--model", "dis"])


def error(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """Exit code, and the line that says what is wrong."""
    code = propagate("in", *arguments)
    return code, capsys.readouterr().err.splitlines()[0].removeprefix("error: ")


def write_points(text: str = "frame,id,x,y\n3,ground,80.5,10\n3,thing,30,35\n") -> str:
    Path("points.csv").write_text(text)
    return "points.csv"


def check_tracks(rows: list[dict[str, str]]) -> None:
    assert [(row["frame"], row["id"]) for row in rows] == [
        (f"f{index:02d}", name) for index in range(COUNT) for name in ("ground", "thing")
    ]
    for number, row in enumerate(rows):
        away = number // 2 - 3
        start, step = ((80.5, 10), (1, 0)) if row["id"] == "ground" else ((30, 35), (3, 1))
        place = float(row["x"]), float(row["y"])
        assert np.hypot(*np.subtract(place, np.add(start, np.multiply(away, step)))) < 0.5, row
        assert row["visible"] == "true"
        assert row["key"] == ("true" if away == 0 else "false")
        assert (row["confidence"] == "1.0") >= (away == 0)
    assert (rows[6]["x"], rows[6]["y"]) == ("80.5", "10.0")


def test_points_become_tracks_which_are_points_again(capsys: pytest.CaptureFixture[str]) -> None:
    outs = ["-o", "t.csv", "-o", "t.json", "-o", "t.jsonl", "-o", "trails/"]
    assert propagate("in", "--points", write_points(), *outs, "--json") == 0
    summary = json.loads(capsys.readouterr().out)
    assert (summary["frames"], summary["keys"], summary["empty"]) == (COUNT, 1, 0)
    kinds = [(each["out"], each["what"], each["format"]) for each in summary["outputs"]]
    assert kinds[0] == ("t.csv", "tracks", "csv")
    assert kinds[3] == ("trails/", "trails", "png")
    with Path("t.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    check_tracks(rows)
    objects = json.loads(Path("t.json").read_text())
    assert objects == [json.loads(line) for line in Path("t.jsonl").read_text().splitlines()]
    shown = {True: "true", False: "false"}
    as_text = [
        {name: shown[each] if isinstance(each, bool) else str(each) for name, each in row.items()} for row in objects
    ]
    assert as_text == rows
    # All are given now, and stay what they are.
    assert propagate("in", "--points", "t.csv", "-o", "again.csv", "-q") == 0
    with Path("again.csv").open(newline="") as file:
        again = list(csv.DictReader(file))
    assert [(row["x"], row["y"], row["key"]) for row in again] == [(row["x"], row["y"], "true") for row in rows]


def test_trails_are_drawn_over_the_frames() -> None:
    assert propagate("in", "--points", write_points(), "-o", "trails/", "-o", "trails.mp4", "-q") == 0
    colours = {"ground": (255, 51, 51), "thing": (51, 102, 255)}
    for index in range(COUNT):
        drawn = read_picture(Path(f"trails/f{index:02d}.png")).astype(int)
        image = SCENE.frame(index).image
        for name, (x, y) in {"ground": (77.5 + index, 10), "thing": (21 + 3 * index, 32 + index)}.items():
            dot = drawn[round(y), round(x)]
            assert np.argmax(dot) == np.argmax(colours[name]), (index, name)
        assert np.array_equal(drawn[50:], image[50:])
    with open_source("trails.mp4") as source:
        assert len(list(source)) == COUNT


def test_tracks_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    assert propagate("in", "--points", write_points(), "-o", "-", "--json") == 0
    out, err = capsys.readouterr()
    check_tracks(list(csv.DictReader(out.splitlines())))
    assert json.loads(err)["frames"] == COUNT


def paint(name: str = "painted.png", left: int = 60) -> np.ndarray:
    picture = np.zeros((HEIGHT, WIDTH, 4), np.uint8)
    picture[5:15, left : left + 20] = (250, 20, 40, 255)
    picture[5:10, left : left + 20, 3] = 100
    write_picture(Path(name), picture)
    return picture


@pytest.mark.slow
@pytest.mark.parametrize("frame", ["3", "f03"])
def test_a_picture_is_carried_and_comes_out_as_it_is_on_its_frame(frame: str) -> None:
    picture = paint()
    outs = {"o/": "composite", "l/": "layer", "l.mov": "layer", "l.webm": "layer", "c/": "confidence", "o.mp4": "mp4"}
    words = [word for target, kind in outs.items() for word in ("-o", target, "--as", kind)]
    assert propagate("in", "--picture", f"{frame}=painted.png", *words, "-q") == 0
    assert np.array_equal(read_unscaled(Path("l/f03.png")), picture)
    alpha = picture[..., 3:] / 255
    image = SCENE.frame(3).image
    made = read_picture(Path("o/f03.png"))
    assert np.abs(made - (image * (1 - alpha) + picture[..., :3] * alpha)).max() < 0.51
    for index in range(COUNT):
        layer = read_unscaled(Path(f"l/f{index:02d}.png"))
        assert layer.shape == (HEIGHT, WIDTH, 4)
        truth = np.roll(picture[..., 3], index - 3, 1) > 127
        there = layer[..., 3] > 127
        assert (there & truth).sum() / (there | truth).sum() > 0.75, index
        assert np.array_equal(read_picture(Path(f"o/f{index:02d}.png"))[40:], SCENE.frame(index).image[40:])
    for name in ("l.mov", "l.webm", "o.mp4"):
        with open_source(name) as source:
            assert len(list(source)) == COUNT


def test_several_pictures_and_one_for_the_first_frame() -> None:
    first, last = paint("first.png", 60), paint("last.png", 66)
    assert propagate("in", "--picture", "first.png", "--picture", "06=last.png", "-o", "l/", "--as", "layer", "-q") == 0
    assert np.array_equal(read_unscaled(Path("l/f00.png")), first)
    assert np.array_equal(read_unscaled(Path("l/f06.png")), last)


def test_a_picture_without_alpha_comes_out_as_it_is() -> None:
    image = SCENE.frame(2).image.copy()
    image[5:15, 60:80] = (255, 0, 255)
    image[60, 90] ^= 1
    write_picture(Path("flat.png"), image)
    assert propagate("in", "--picture", "2=flat.png", "-o", "o/", "-q") == 0
    assert np.array_equal(read_picture(Path("o/f02.png")), image)
    assert np.array_equal(read_picture(Path("o/f04.png"))[40:], SCENE.frame(4).image[40:])


def write_tensors(*indices: int) -> dict[int, dict[str, np.ndarray]]:
    Path("keys").mkdir()
    made: dict[int, dict[str, np.ndarray]] = {}
    for index in indices:
        dice = np.random.default_rng(index)
        made[index] = {
            "features": dice.normal(size=(6, 9, 13)).astype(np.float32),
            "half": dice.normal(size=(2, 5, 7)).astype(np.float16),
            "labels": (SCENE.mask(index) * 40).astype(np.uint8),
            "matte": SCENE.mask(index).astype(np.float64),
        }
        np.savez(f"keys/f{index:02d}.npz", allow_pickle=False, **made[index])
    return made


@pytest.mark.slow
def test_tensors_are_carried_to_all_frames() -> None:
    given = write_tensors(0, 4)
    assert propagate("in", "--tensors", "keys/", "-o", "all/", "-o", "c/", "--as", "tensors", "--as", "confidence") == 0
    for index in range(COUNT):
        with np.load(f"all/f{index:02d}.npz") as arrays:
            assert set(arrays) == {"features", "half", "labels", "matte"}
            assert arrays["half"].dtype == np.float16
            assert set(np.unique(arrays["labels"])) == {0, 40}
            assert arrays["labels"].dtype == np.uint8
            for name, array in given.get(index, {}).items():
                assert np.array_equal(arrays[name], array), name
            assert arrays["features"].shape == (6, 9, 13)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--points", "points.csv", "-o", "t.parquet"], 1, "unknown suffix .parquet: t.parquet"),
        (["--points", "points.csv", "-o", "t.mp4", "--as", "tracks"], 1, "tracks cannot go to t.mp4"),
        (["--points", "points.csv", "-o", "t.json", "--as", "csv"], 2, "t.json cannot hold tracks as csv"),
        (["--points", "points.csv", "-o", "-", "--as", "json"], 2, "json cannot be written to stdout"),
        (["--points", "points.csv", "-o", "o/", "--as", "overlay"], 2, "there are no overlay of what is carried: o/"),
        (["--points", "points.csv", "-o", "o.csv", "--as", "trails"], 1, "unknown suffix .csv: o.csv"),
        (["--points", "gone.csv", "-o", "t.csv"], 1, "cannot read gone.csv: No such file or directory"),
        (["--points", "far.csv", "-o", "t.csv"], 1, "no frame 7 for points of far.csv, there are 7 frames"),
        (["--points", "points.csv", "--masks", "m/", "-o", "o/"], 2, "--masks and --points contradict each other"),
        (["--points", "points.csv", "--content", "soft", "-o", "t.csv"], 2, "--content is for --masks"),
        (["-o", "o/"], 2, "nothing to carry"),
        (["--picture", "3=small.png", "-o", "o/"], 1, f"small.png is 40x30, but frames of in are {SIZE}"),
        (["--picture", "3=gone.png", "-o", "o/"], 1, "cannot read gone.png: No such file or directory"),
        (["--picture", "3=points.csv", "-o", "o/"], 1, "not a picture, or a damaged one: points.csv"),
        (
            ["--picture", "3=good.png", "--picture", "03=good.png", "-o", "o/"],
            1,
            "two pictures for frame 3: good.png and good.png",
        ),
        (["--picture", "9=good.png", "-o", "o/"], 1, "no frame 9 for a picture, there are 7 frames"),
        (["--picture", "3=good.png", "-o", "o.mp4", "--as", "layer"], 2, "mp4 has no transparency: o.mp4"),
        (["--tensors", "in", "-o", "a/"], 1, "no .npz files in in"),
        (["--tensors", "other/", "-o", "a.npz"], 2, "npz files of tensors need a folder: a.npz"),
        (
            ["--tensors", "other/", "-o", "a/"],
            1,
            "other/f01.npz has t float32 (2, 3, 5), but the key frame before it t float32 (2, 3, 4)",
        ),
        (["--tensors", "infinite.npz", "-o", "a/"], 1, "t of infinite.npz has numbers that are not finite"),
        (["--tensors", "flat.npz", "-o", "a/"], 1, f"what is given for frame 0 is 4x3, but the frame is {SIZE}"),
        (["--tensors", "text.npz", "-o", "a/"], 1, "not a .npz file: text.npz"),
    ],
)  # fmt: skip
def test_errors(words: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    write_points()
    Path("far.csv").write_text("frame,x,y\n7,1,2\n")
    for name, shape in (("small", (30, 40, 4)), ("good", (HEIGHT, WIDTH, 4))):
        write_picture(Path(f"{name}.png"), np.zeros(shape, np.uint8))
    Path("other").mkdir()
    for index, width in enumerate((4, 5)):
        np.savez(f"other/f{index:02d}.npz", t=np.zeros((2, 3, width), np.float32))
    np.savez("infinite.npz", t=np.full((2, 3, 4), np.inf))
    np.savez("flat.npz", t=np.zeros((3, 4)))
    Path("text.npz").write_text("text")
    assert error(capsys, *words) == (code, message)
    assert not {path.name for path in Path().iterdir()} & {"t.csv", "o", "a"}


def test_what_has_no_frame_is_passed_over_in_a_selection() -> None:
    Path("far.csv").write_text("frame,x,y\n7,1,2\n1,3,4\n")
    assert propagate("in", "--points", "far.csv", "-o", "t.csv", "--stop", "4", "-q") == 0
    assert len(Path("t.csv").read_text().splitlines()) == 1 + 4
