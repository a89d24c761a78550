from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from flowcli.carry.pointfiles import Key, read_points
from flowcli.errors import InputError
from flowcli.types import Frame


def frame(index: int, name: str | None = None) -> Frame:
    return Frame(np.zeros((2, 2, 3), np.uint8), index, Fraction(0), name)


def write(folder: Path, text: str, name: str = "points.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "text",
    [
        "frame,id,x,y\n3,nose,1.5,2\n5,nose,4,5\n3,tail,7,8\n",
        "\ufeffFrame;ID;X;Y;colour\n3;nose;1.5;2;red\n5.0;nose;4;5;red\n\n3;tail;7;8;blue\n",
        "y\tx\tid\tframe\tvisible\n2\t1.5\tnose\t3\t1\n5\t4\tnose\tf05\tTrue\n8\t7\ttail\t3\ttrue\n9\t9\ttail\t6\tFalse\n",
    ],
)
def test_tables(tmp_path: Path, text: str) -> None:
    points = read_points(write(tmp_path, text))
    assert points.names == ("nose", "tail")
    assert points.left
    assert [points.take(frame(index)) for index in (2, 3)] == [[], [Key(0, 1.5, 2), Key(1, 7, 8)]]
    assert points.lost in ("5", "f05")
    assert points.take(frame(0, "f05")) == [Key(0, 4, 5)]
    assert not points.left
    assert points.lost is None


@pytest.mark.parametrize("lines", [False, True])
def test_json(tmp_path: Path, lines: bool) -> None:
    rows = [{"frame": 4, "id": 9, "x": 1, "y": 2.25}, {"Frame": "f07", "ID": "a", "X": 3, "Y": 4, "visible": None}]
    text = "\n".join(map(json.dumps, rows)) + "\n" if lines else json.dumps(rows)
    points = read_points(write(tmp_path, text, "points.jsonl" if lines else "points.json"))
    assert points.names == ("9", "a")
    assert points.take(frame(4)) == [Key(0, 1, 2.25)]
    assert points.take(frame(0, "f07")) == [Key(1, 3, 4)]


def test_without_frame_and_id_each_row_is_a_point_of_the_first_frame(tmp_path: Path) -> None:
    points = read_points(write(tmp_path, "x,y\n1,2\n3,4\n"))
    assert points.names == ("0", "1")
    assert points.take(frame(20)) == [Key(0, 1, 2), Key(1, 3, 4)]
    assert points.take(frame(21)) == []
    assert not points.left


HEAD = "frame,id,x,y\n"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("p.csv", "", "no points in {path}"),
        ("p.csv", HEAD, "no points in {path}"),
        ("p.csv", "frame,id,x\n1,a,2\n", "no y in {path}, but frame, id, x"),
        ("p.csv", "1,2\n3,4\n", "no x and no y in {path}, but 1, 2"),
        ("p.csv", HEAD + "1,a,nan,2\n", "x is 'nan' in line 2 of {path}"),
        ("p.csv", HEAD + "1,a,1,\n", "y is '' in line 2 of {path}"),
        ("p.csv", HEAD + "1,a,1,2\n\n1,b,1\n", "line 4 of {path} has 3 columns, its first line 4"),
        ("p.csv", HEAD + '1,a,"1,2\n', "line 2 of {path} is damaged: unexpected end of data"),
        ("p.csv", HEAD + "-1,a,1,2\n", "frame is -1 in line 2 of {path}"),
        ("p.csv", HEAD + "1.5,a,1,2\n", "frame is 1.5 in line 2 of {path}"),
        ("p.csv", HEAD + "1,a,1,2\n01,a,3,4\n", "point a comes twice on frame 1: line 3 of {path}"),
        ("p.csv", "id,x,y\na,1,2\na,3,4\n", "point a comes twice on the first frame: line 3 of {path}"),
        ("p.csv", HEAD + "1,a,1,2\n1,,3,4\n", "no id in line 3 of {path}, but elsewhere"),
        ("p.txt", HEAD, "unknown suffix .txt: {path}"),
        ("p.json", "{", "not JSON: {path}"),
        ("p.json", "[" * 100_000, "not JSON: {path}"),
        ("p.json", '{"x": 1, "y": 2}', "no list of points: {path}"),
        ("p.json", "[[1, 2]]", "no list of points: {path}"),
        ("p.json", "[]", "no points in {path}"),
        ("p.json", '[{"x": 1, "frame": 2}]', "no y in {path}, but x, frame"),
        ("p.json", '[{"x": 1, "y": true}]', "y is True in entry 0 of {path}"),
        ("p.json", '[{"x": Infinity, "y": 1}]', "x is inf in entry 0 of {path}"),
        ("p.jsonl", '{"x": 1, "y": 2}\n3\n', "no list of points: {path}"),
    ],
)
def test_bad_files(tmp_path: Path, name: str, text: str, message: str) -> None:
    path = write(tmp_path, text, name)
    with pytest.raises(InputError) as caught:
        read_points(path)
    assert caught.value.message == message.format(path=path)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^cannot read .*: No such file or directory$"):
        read_points(tmp_path / "gone.csv")
    (tmp_path / "p.csv").write_bytes(b"\xff\xfe\x00x")
    with pytest.raises(InputError, match=r"^.*p\.csv is not text in UTF-8$"):
        read_points(tmp_path / "p.csv")
