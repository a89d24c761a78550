from __future__ import annotations

import json
import os
import threading
import time
from dataclasses import fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowcli.batch import manifest as manifest_module
from flowcli.batch.items import Stamp
from flowcli.batch.manifest import Manifest, Record, Written
from flowcli.errors import OutputError


def record(item: str, time: float = 1.0, **values: Any) -> Record:
    known = {
        "status": "done",
        "input": f"/in/{item}",
        "size": 5,
        "mtime": 6,
        "files": 1,
        "weights": "w",
    }
    return Record(item=item, time=time, **{**known, **values})


def test_records_come_back(tmp_path: Path) -> None:
    one = record(
        "a/x.mp4",
        outputs=(
            Written("a/x.mp4", 1, 77, (), "color.mp4", {}),
            Written("a/x", 3, 99, (("0.flo", 3),), "flow.flo", {"max-side": "5"}),
            Written("a/y", kind="flow.npy"),
        ),
        frames=4,
        flows=3,
        seconds=0.5,
    )
    other = record("käse\udcff\n.mp4", status="failed", error="bad", hint="good")
    owned = {("a/x.mp4", ""): set(), ("a/x", "flo"): {("0.flo", 3)}}
    with Manifest(tmp_path) as manifest:
        assert manifest.last == {}
        manifest.append(one)
        manifest.append(other)
        assert manifest.owned == owned
    with Manifest(tmp_path) as manifest:
        assert manifest.last == {one.item: one, other.item: other}
        assert manifest.owned == owned
    assert one.stamp == Stamp(5, 6, 1)


def test_lines_are_json_for_others(tmp_path: Path) -> None:
    with Manifest(tmp_path) as manifest:
        manifest.append(record("x", outputs=(Written("x.mp4", 1, 7),)))
    (line,) = (tmp_path / "manifest.jsonl").read_text().splitlines()
    assert json.loads(line) == {
        "sequence": 1,
        "item": "x",
        "status": "done",
        "input": "/in/x",
        "size": 5,
        "mtime": 6,
        "files": 1,
        "weights": "w",
        "time": 1.0,
        "frames": 0,
        "flows": 0,
        "seconds": 0.0,
        "error": "",
        "hint": "",
        "damaged": "",
        "arithmetic": "",
        "cuts": [],
        "duplicates": [],
        "outputs": [{"path": "x.mp4", "files": 1, "size": 7, "names": [], "kind": "", "settings": None}],
    }


def test_a_line_is_on_disk_before_append_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: sizes.append(os.fstat(descriptor).st_size))
    with Manifest(tmp_path) as manifest:
        for name in ("x", "y"):
            manifest.append(record(name))
            assert sizes[-1] == (tmp_path / "manifest.jsonl").stat().st_size
    assert len(set(sizes)) == 2


@pytest.mark.slow
def test_a_line_torn_anywhere_counts_as_not_written(tmp_path: Path) -> None:
    path = tmp_path / "manifest.jsonl"
    with Manifest(tmp_path) as manifest:
        manifest.append(record("x"))
        first = path.stat().st_size
        manifest.append(record("y", outputs=(Written("y.mp4", 1, 7),)))
    whole = path.read_bytes()
    for end in range(first, len(whole)):
        path.write_bytes(whole[:end])
        # All but its end of line is there: that is a whole record.
        known = {"x", "y"} if end == len(whole) - 1 else {"x"}
        with Manifest(tmp_path) as manifest:
            assert set(manifest.last) == known
            manifest.append(record("z"))
        with Manifest(tmp_path) as manifest:
            assert set(manifest.last) == {*known, "z"}


def test_lines_of_others_are_passed_over(tmp_path: Path) -> None:
    lines = [
        b"",
        b"[]",
        b"5",
        b"null",
        b"\xff\xfe",
        b'{"item": "x"}',
        b'{"outputs": 5}',
        b'{"outputs": [5], "item": "x"}',
    ]
    (tmp_path / "manifest.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    with Manifest(tmp_path) as manifest:
        assert manifest.last == {}


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@pytest.mark.slow
@given(st.data())
@settings(max_examples=500)
def test_a_line_with_any_value_in_any_place(data: st.DataObject) -> None:
    """It is a record of the right types, or none; never an exception."""
    values: dict[str, Any] = json.loads(json.dumps({"sequence": 3, **record("x").as_dict()}))
    output = {"path": "x", "files": 1, "size": 7, "names": [["0.flo", 1]], "kind": "flow.flo", "settings": {"a": "b"}}
    values["outputs"] = [output]
    place = data.draw(st.sampled_from([*values, "other", "path", "files", "size", "names", "kind", "settings", "run"]))
    value = data.draw(VALUES)
    if place in values or place == "other":
        values[place] = value
    elif place == "run":
        values["outputs"][0]["names"][0] = value
    else:
        values["outputs"][0][place] = value
    with TemporaryDirectory() as name:
        (Path(name) / "manifest.jsonl").write_text(json.dumps(values) + "\n")
        with Manifest(Path(name)) as manifest:
            for each in manifest.last.values():
                for field in fields(Record):
                    kinds: dict[str, Any] = {"str": str, "Status": str, "int": int, "float": (int, float)}
                    assert isinstance(getattr(each, field.name), kinds.get(str(field.type), tuple))
                for written in each.outputs:
                    assert isinstance(written.slot, tuple)
                    assert all(isinstance(value, str) for value in (written.settings or {}).values())
            manifest.append(record("y"))
        with Manifest(Path(name)) as manifest:
            assert "y" in manifest.last


def test_deep_nesting_and_bombs_are_passed_over(tmp_path: Path) -> None:
    good = json.dumps(record("x").as_dict())
    listed = '"outputs": [{"path": "x", "files": 1, "size": 1, "names": [["0.flo", 1000000000000]]}]'
    lines = ["[" * 100_000, '{"a":' * 100_000, good.replace('"size": 5', '"size": ' + "9" * 10_000)]
    lines.append(good.replace('"outputs": []', listed).replace('"x"', '"bomb"', 1))
    (tmp_path / "manifest.jsonl").write_text("\n".join([*lines, good]) + "\n")
    with Manifest(tmp_path) as manifest:
        assert set(manifest.last) == {"x"}


def test_a_clock_that_was_ahead_decides_nothing(tmp_path: Path) -> None:
    lines = [
        json.dumps(record("x", time, status=status).as_dict()) for time, status in ((9e9, "failed"), (1e9, "done"))
    ]
    (tmp_path / "manifest.jsonl").write_text("\n".join(lines) + "\n")
    with Manifest(tmp_path) as manifest:
        assert manifest.last["x"].status == "done"
        manifest.append(record("x", 5.0, status="failed"))
    with Manifest(tmp_path, (1, 2)) as manifest:
        assert manifest.last["x"].status == "failed"
        manifest.append(record("x", 1.0))
    with Manifest(tmp_path) as manifest:
        assert manifest.last["x"].status == "done"


def test_shards_read_each_other_and_the_latest_counts(tmp_path: Path) -> None:
    with Manifest(tmp_path, (1, 2)) as one:
        assert one.name == "manifest-1of2"
        one.append(record("x", 5.0, outputs=(Written("x.mp4", 1),)))
    with Manifest(tmp_path, (2, 2)) as two:
        assert two.name == "manifest-2of2"
        # The clock of the first machine was ahead.
        two.append(record("x", 4.0, outputs=(Written("x.flo", 1),)))
        two.append(record("y", 4.0))
    with Manifest(tmp_path) as manifest:
        assert {name: each.time for name, each in manifest.last.items()} == {"x": 4.0, "y": 4.0}
        assert set(manifest.owned) == {("x.mp4", ""), ("x.flo", "")}
        assert manifest.path == tmp_path / "manifest.jsonl"


def test_one_run_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("fcntl", reason="there are no locks on this system")
    monkeypatch.setattr(manifest_module, "_PATIENCE", 0.1)
    with Manifest(tmp_path), Manifest(tmp_path, (1, 2)):
        for share in (None, (1, 2)):
            with pytest.raises(OutputError) as caught:
                Manifest(tmp_path, share)
            assert caught.value.message == f"another run is writing into {tmp_path}"
            assert caught.value.hint == "wait for it, or give each run a --shard of its own"
    Manifest(tmp_path).close()


def test_what_a_killed_run_holds_for_a_moment_is_waited_for(tmp_path: Path) -> None:
    pytest.importorskip("fcntl", reason="there are no locks on this system")
    first = Manifest(tmp_path)
    ends = threading.Timer(0.3, first.close)
    ends.start()
    began = time.monotonic()
    Manifest(tmp_path).close()
    assert time.monotonic() - began >= 0.25
    ends.join()


def test_a_manifest_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, os.strerror(28))

    with Manifest(tmp_path) as manifest:
        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(OutputError) as caught:
            manifest.append(record("x"))
    assert caught.value.message == f"cannot write {tmp_path}/manifest.jsonl: No space left on device"
    with pytest.raises(OutputError, match=r"^cannot write .*/no/manifest\.jsonl: No such file or directory$"):
        Manifest(tmp_path / "no")
