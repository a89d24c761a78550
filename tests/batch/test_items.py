from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flowcli.batch.items import Found, Item, Stamp, find_items, stamp
from flowcli.errors import FlowcliError, InputError, UsageError
from flowcli.flowfile import write_flow
from tests.folders import touch
from tests.plates import write_exr


@pytest.fixture(autouse=True)
def _inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def found(*inputs: str, root: str | None = None) -> dict[str, str]:
    """Names of the items, and their paths below the current folder."""
    items = find_items(inputs, Path("out"), None if root is None else Path(root)).items
    return {item.name: item.path.relative_to(Path.cwd()).as_posix() for item in items}


def left_out(*inputs: str) -> dict[str, str]:
    """What is left out, by its path below the current folder, and why."""
    found = find_items(inputs, Path("out"))
    return {each.path.relative_to(Path.cwd()).as_posix(): each.reason for each in found.left_out}


def test_a_folder_is_searched() -> None:
    touch("in/b.mp4", "in/a/x.MKV", "in/a/f/1.png", "in/a/f/2.JPG", "in/a/f/deep/y.mp4", "in/a/notes.txt")
    touch("in/.hidden.mp4", "in/.cache/z.mp4", "in/cover/one.png")
    assert found("in") == {name: f"in/{name}" for name in ("a/f", "a/f/deep/y.mp4", "a/x.MKV", "b.mp4")}
    assert left_out("in") == {"in/cover/one.png": SINGLE}
    assert found("in/") == found("in")


def test_what_is_named_itself_has_its_own_name() -> None:
    touch("in/f/1.png", "in/f/2.png", "in/x.weird", "in/a/y.mp4")
    assert found("in/f", "in/x.weird", "in/a/y.mp4") == {"f": "in/f", "x.weird": "in/x.weird", "y.mp4": "in/a/y.mp4"}


def test_the_current_folder_has_a_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    touch("f/1.png", "f/2.png")
    monkeypatch.chdir("f")
    assert find_items(["."], Path("out")) == Found((Item("f", tmp_path / "f"),), ())


def test_globs_keep_what_follows_their_fixed_part() -> None:
    touch("in/a/x.mp4", "in/b/x.mp4", "in/b/f/1.png", "in/b/f/2.png", "in/b/cover.png", "in/b/deep/deeper/z.mp4")
    assert found("in/*/*.mp4") == {"a/x.mp4": "in/a/x.mp4", "b/x.mp4": "in/b/x.mp4"}
    assert found("in/b*/**/*.mp4") == {"b/x.mp4": "in/b/x.mp4", "b/deep/deeper/z.mp4": "in/b/deep/deeper/z.mp4"}
    assert found("in/b/*") == {
        "x.mp4": "in/b/x.mp4",
        "f": "in/b/f",
        "deep/deeper/z.mp4": "in/b/deep/deeper/z.mp4",
    }


def test_a_name_that_looks_like_a_glob_is_a_file() -> None:
    touch("in/[1].mp4", "in/1.mp4")
    assert found("in/[1].mp4") == {"[1].mp4": "in/[1].mp4"}


def test_lists_name_inputs_of_all_kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    touch("in/a/x.mp4", "in/b/y.mp4", "in/f/1.png", "in/f/2.png")
    Path("list.txt").write_bytes(b"in/a/*.mp4\r\n\nin/f\nnot there.mp4\n")
    expected = {"x.mp4": "in/a/x.mp4", "f": "in/f", "not there.mp4": "not there.mp4"}
    assert found("list.txt") == expected
    stdin = io.TextIOWrapper(io.BytesIO(b"in/b/y.mp4"))
    monkeypatch.setattr("sys.stdin", stdin)
    assert found("-", "list.txt") == {**expected, "y.mp4": "in/b/y.mp4"}


def test_root_makes_names_longer() -> None:
    touch("in/a/x.mp4", "in/b/x.mp4")
    names = {"a/x.mp4": "in/a/x.mp4", "b/x.mp4": "in/b/x.mp4"}
    assert found("in/a/x.mp4", "in/b", root="in") == names
    assert found("in/a/x.mp4", "in/b", root=".") == {f"in/{name}": path for name, path in names.items()}


def test_an_item_that_is_named_twice_is_one() -> None:
    touch("in/x.mp4")
    assert found("in", "in/x.mp4", "./in/*") == {"x.mp4": "in/x.mp4"}


def test_the_order_is_that_of_the_names() -> None:
    touch("in/b.mp4", "in/a/z.mp4", "in/c.mp4")
    assert list(found("in/c.mp4", "in")) == ["a/z.mp4", "b.mp4", "c.mp4"]


def test_outputs_are_no_inputs() -> None:
    touch("in/x.mp4", "out/y.mp4", "out/deep/z.mp4")
    assert list(found(".")) == ["in/x.mp4"]
    Path("link").symlink_to("out")
    assert list(found(".")) == ["in/x.mp4"]


def test_links_are_followed_once() -> None:
    touch("in/a/x.mp4", "far/y.mp4")
    Path("in/a/up").symlink_to(Path("in").absolute())
    Path("in/far").symlink_to(Path("far").absolute())
    assert found("in") == {"a/x.mp4": "in/a/x.mp4", "far/y.mp4": "in/far/y.mp4"}


def test_pictures_beside_videos_are_left_out() -> None:
    touch("in/x.mp4", "in/1.png", "in/2.png", "in/deep/3.png")
    assert list(found("in")) == ["x.mp4"]
    assert left_out("in") == {"in": "pictures beside videos", "in/deep/3.png": SINGLE}


def test_posters_above_videos_are_no_frames() -> None:
    touch("in/poster.jpg", "in/fanart.jpg", "in/videos/a.mp4", "in/videos/b.mp4", "in/shots/1.png", "in/shots/2.png")
    assert list(found("in")) == ["shots", "videos/a.mp4", "videos/b.mp4"]
    assert left_out("in") == {"in": "pictures without frame numbers, above videos or frames"}
    touch("alone/poster.jpg", "alone/fanart.jpg", "alone/deep/one.png")
    assert list(found("alone")) == ["alone"]
    assert left_out("alone") == {"alone/deep/one.png": SINGLE}


def test_frames_above_videos_are_frames() -> None:
    touch("in/f1.png", "in/f2.png", "in/videos/a.mp4")
    assert list(found("in")) == ["in", "videos/a.mp4"]
    assert left_out("in") == {}


def test_programs_are_no_videos() -> None:
    touch("in/x.mp4", "in/empty.ts")
    Path("in/main.ts").write_text("export const answer = 42;\n")
    Path("in/module.mts").write_text("export {};\n")
    Path("in/film.ts").write_bytes(b"\x47\x40\x11\x10\x00\x42")
    Path("in/film.mp4").write_text("no video, but no program either")
    assert list(found("in")) == ["empty.ts", "film.mp4", "film.ts", "x.mp4"]
    text = "text with the suffix of a video"
    assert left_out("in") == {"in/main.ts": text, "in/module.mts": text}
    assert list(found("in/main.ts")) == ["main.ts"]


def test_a_folder_that_cannot_be_read_is_an_item(monkeypatch: pytest.MonkeyPatch) -> None:
    touch("in/x.mp4", "in/lost+found/y.mp4")
    scandir = os.scandir

    def guarded(folder: Path) -> Any:
        if Path(folder).name == "lost+found":
            raise PermissionError(13, "Permission denied", str(folder))
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", guarded)
    assert list(found("in")) == ["lost+found", "x.mp4"]
    touch("disk/1.png", "disk/2.png", "disk/lost+found/y.mp4")
    assert found("disk") == {"disk": "disk", "lost+found": "disk/lost+found"}
    assert stamp(Path("in/lost+found")) == Stamp()
    with pytest.raises(InputError) as caught:
        found("in/lost+found")
    assert caught.value.message == f"cannot read folder {Path.cwd()}/in/lost+found: Permission denied"


def test_links_to_nothing_and_pipes() -> None:
    touch("in/x.mp4")
    Path("in/gone.mp4").symlink_to("nowhere.mp4")
    Path("in/round.mp4").symlink_to("round.mp4")
    Path("in/round").symlink_to("round")
    os.mkfifo("in/pipe.mp4")
    assert list(found("in")) == ["gone.mp4", "round.mp4", "x.mp4"]


SOME = "name a folder that holds some"
SINGLE = "a picture is no sequence"


@pytest.mark.parametrize(
    ("inputs", "kind", "message", "hint"),
    [
        (("no.mp4",), InputError, "no such file: no.mp4", "check the name"),
        (("none",), InputError, "no videos and no folders of frames in none", SOME),
        (("in/*.avi",), InputError, "no file matches: in/*.avi", "check the pattern"),
        (("in/f/*.png",), InputError, "no videos and no folders of frames in in/f/*.png", SOME),
        (("in/f/1.png",), InputError, "a picture is no sequence: {}/in/f/1.png", "name the folder that it is in"),
        (("out",), UsageError, "outputs would lie among the inputs: {}/out", "choose another folder for --out"),
        (
            ("in/x.mp4", "in/a/x.mp4"),
            UsageError,
            "two inputs have the name x.mp4: {}/in/x.mp4 and {}/in/a/x.mp4",
            "--root FOLDER names them by their path below FOLDER",
        ),
    ],
)  # fmt: skip
def test_inputs_that_are_refused(inputs: tuple[str, ...], kind: type[FlowcliError], message: str, hint: str) -> None:
    touch("in/x.mp4", "in/a/x.mp4", "in/f/1.png", "in/f/2.png", "out/y.mp4")
    Path("none").mkdir()
    with pytest.raises(kind) as caught:
        found(*inputs)
    assert caught.value.message == message.format(*[Path.cwd()] * 2)
    assert caught.value.hint == hint


def test_roots_that_are_refused() -> None:
    touch("in/f/1.png", "in/f/2.png", "x.mp4")
    for root, name in (("in", "x.mp4"), ("in/f", "in/f")):
        with pytest.raises(UsageError) as caught:
            found(name, root=root)
        assert caught.value.message == f"input is not below --root {root}: {Path.cwd()}/{name}"


def test_stdin_that_is_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("sys.stdin", Terminal())
    with pytest.raises(InputError, match=r"^standard input is a terminal$"):
        found("-")


def test_the_stamp_of_a_file() -> None:
    Path("x.mp4").write_bytes(b"12345")
    os.utime("x.mp4", ns=(1, 1_600_000_000_123_456_789))
    assert stamp(Path("x.mp4")) == Stamp(5, 1_600_000_000_123_456_789, 1)
    assert stamp(Path("no.mp4")) == Stamp(0, 0, 0)


def test_the_stamp_of_a_folder_changes_with_its_pictures() -> None:
    touch("f/1.png", "f/2.png", "f/notes.txt")
    Path("f/1.png").write_bytes(b"123")
    for path in (*Path("f").iterdir(), Path("f")):
        os.utime(path, ns=(1000, 1000))
    before = stamp(Path("f"))
    assert before == Stamp(3, 1000, 2)
    os.utime("f/notes.txt", ns=(2000, 2000))
    assert stamp(Path("f")) == before
    os.utime("f/2.png", ns=(2000, 2000))
    assert stamp(Path("f")) == Stamp(3, 2000, 2)
    Path("f/2.png").rename("f/3.png")
    assert stamp(Path("f")).mtime > 2000


def _animate(*names: str) -> None:
    """PNG files that say that they have three frames."""
    chunk = b"\0\0\0\x08acTL" + (3).to_bytes(4) + bytes(8)
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(b"\x89PNG\r\n\x1a\n" + chunk)


def test_animations_are_items() -> None:
    _animate("in/a.png", "in/b.png", "one/c.png")
    touch("in/poster.png", "frames/1.png", "frames/2.png")
    assert found("in", "one", "frames") == {
        "a.png": "in/a.png",
        "b.png": "in/b.png",
        "c.png": "one/c.png",
        "frames": "frames",
    }
    assert left_out("in") == {"in/poster.png": SINGLE}
    assert found("one/c.png", "in/*.png") == {"a.png": "in/a.png", "b.png": "in/b.png", "c.png": "one/c.png"}


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("in/shot/f.%04d.png", "f.png"),
        ("in/shot/f.####.png", "f.png"),
        ("in/shot/%04d.jpg", "shot.jpg"),
    ],
)
def test_a_pattern_of_frame_numbers_is_one_item(pattern: str, name: str) -> None:
    touch("in/shot/f.0001.png", "in/shot/f.0002.png", "in/shot/0001.jpg", "in/shot/0002.jpg", "in/shot/x.png")
    assert found(pattern) == {name: pattern}
    assert stamp(Path(pattern).absolute()).files == 2
    assert find_items([pattern], Path("out"), Path("in")).items[0].name == f"shot/{name}"


def test_the_stamp_of_a_pattern_changes_with_its_frames() -> None:
    touch("f.0001.png", "f.0002.png")
    path = Path("f.%04d.png").absolute()
    before = stamp(path)
    touch("f.0003.png")
    assert stamp(path) != before
    for file in Path().glob("f.*"):
        file.unlink()
    assert stamp(path) == Stamp()


def test_plates_are_frames_and_flow_is_not() -> None:
    pytest.importorskip("OpenEXR")
    one = np.ones((2, 3), np.float32)
    for name in ("plates/f1.exr", "plates/f2.exr", "mixed/f1.exr"):
        touch(name)
        write_exr(Path(name), dict.fromkeys("RGB", one))
    touch("flow/f1.exr", "flow/f2.exr", "scan/f1.dpx", "scan/f2.dpx", "mixed/f1.png", "mixed/f2.png")
    write_flow("flow/f1.exr", np.zeros((2, 3, 4), np.float32))
    assert set(found(".").values()) == {"mixed", "plates", "scan"}
    assert found("plates/f%d.exr") == {"f.exr": "plates/f%d.exr"}
