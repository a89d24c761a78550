from __future__ import annotations

import os
from pathlib import Path

import pytest

from flowcli.errors import InputError
from flowcli.inputs import Input, find_input, list_folder
from tests.folders import touch


@pytest.fixture(autouse=True)
def _inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def matches(pattern: str) -> list[str]:
    return [path.as_posix() for path in find_input(pattern).paths]


def test_what_exists_is_a_file_or_a_folder() -> None:
    touch("in/a.mp4", "in/[a].mp4")
    assert find_input("in") == Input("in", "folder", (Path("in"),))
    assert find_input("in/a.mp4") == Input("in/a.mp4", "file", (Path("in/a.mp4"),))
    assert find_input("in/[a].mp4") == Input("in/[a].mp4", "file", (Path("in/[a].mp4"),))


def test_a_pipe_with_a_name_is_a_file() -> None:
    os.mkfifo("pipe")
    assert find_input("pipe") == Input("pipe", "file", (Path("pipe"),))


def test_a_dash_is_standard_input_whatever_is_there() -> None:
    touch("-")
    assert find_input("-") == Input("-", "stdin")
    assert find_input("./-").form == "file"


def test_matches_of_a_pattern_come_in_natural_order() -> None:
    touch("in/f2.png", "in/f10.png", "in/F1.png", "in/.f3.png", "in/g.png")
    Path("in/f4.png").mkdir()
    given = find_input("in/[fF]*.png")
    assert given == Input("in/[fF]*.png", "pattern", tuple(map(Path, matches("in/[fF]*.png"))), Path("in"))
    assert matches("in/[fF]*.png") == ["in/F1.png", "in/f2.png", "in/f4.png", "in/f10.png"]
    assert given.files({".jpg"}) == [Path("in/F1.png"), Path("in/f2.png"), Path("in/f10.png")]


def test_two_stars_are_folders_at_any_depth() -> None:
    touch("in/x.mp4", "in/a/b/x.mp4")
    assert matches("in/**/*.mp4") == ["in/a/b/x.mp4", "in/x.mp4"]


def test_a_slash_at_the_end_asks_for_folders() -> None:
    touch("in/x.mp4", "in/a/x.mp4")
    assert matches("in/*/") == ["in/a"]


def test_a_folder_with_brackets_in_its_name_is_no_pattern() -> None:
    touch("a [b]/c*/1.png", "a b/c*/2.png", "a [b]/cd/3.png")
    given = find_input("a [b]/c*/?.png")
    assert (given.paths, given.base) == ((Path("a [b]/c*/1.png"),), Path("a [b]/c*"))


def test_where_a_pattern_begins(tmp_path: Path) -> None:
    touch("in/a/x.mp4")
    assert find_input("*/a/*.mp4").base == Path()
    assert find_input("in/*/x.mp4").base == Path("in")
    assert find_input(f"{tmp_path}/in/*/*").base == tmp_path / "in"


def test_the_files_of_a_folder_are_those_of_some_suffixes() -> None:
    touch("in/b10.PNG", "in/b9.png", "in/.c.png", "in/d.txt", "in/deep/e.png")
    Path("in/z.png").mkdir()
    assert find_input("in").files({".png"}) == [Path("in/b9.png"), Path("in/b10.PNG")]
    assert find_input("in/d.txt").files({".png"}) == [Path("in/d.txt")]
    assert [entry.name for entry in list_folder(Path("in"))] == ["b9.png", "b10.PNG", "d.txt", "deep", "z.png"]


@pytest.mark.parametrize(
    ("pattern", "numbers"),
    [
        ("in/f.%04d.png", ["-002", "0001", "0010", "12345"]),
        ("in/f.####.png", ["-002", "0001", "0010", "12345"]),
        ("in/f.%d.png", ["-002", "0001", "7", "0010", "12345"]),
        ("in/f.#.png", ["-002", "0001", "7", "0010", "12345"]),
        ("in/f.%05d.png", ["12345"]),
    ],
)
def test_numbers_in_a_pattern(pattern: str, numbers: list[str]) -> None:
    touch(*(f"in/f.{each}.png" for each in ("0001", "0010", "7", "12345", "-002", "x", "")), "in/f.01.jpg", "in/#.png")
    assert sorted(matches(pattern)) == sorted(f"in/f.{number}.png" for number in numbers)
    assert find_input(pattern).base == Path("in")
    assert find_input("in/#.png").form == "file"


FETCH = "flowcli reads files alone; download it first: curl -LO https://example.com/x.mp4"


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("no.mp4", "no such file: no.mp4", "check the name"),
        ("x" * 300, f"no such file: {'x' * 300}", "check the name"),
        ("a\0b", "no such file: a\0b", "check the name"),
        ("in/*.avi", "no file matches: in/*.avi", "check the pattern"),
        ("no/*.avi", "no file matches: no/*.avi", "check the pattern"),
        ("no/%04d.png", "no file matches: no/%04d.png", "check the pattern"),
        ("in/%d.png", "no file matches: in/%d.png", "check the pattern"),
        ("https://example.com/x.mp4", "an address, not a file: https://example.com/x.mp4", FETCH),
    ],
)
def test_what_is_refused(text: str, message: str, hint: str) -> None:
    touch("in/x.mp4")
    with pytest.raises(InputError) as caught:
        find_input(text)
    assert (caught.value.message, caught.value.hint) == (message, hint)


def test_a_folder_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    Path("in").mkdir()
    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(InputError) as caught:
        find_input("in").files({".png"})
    assert (caught.value.message, caught.value.hint) == (
        "cannot read folder in: Permission denied",
        "check its permissions",
    )


def test_a_link_to_what_is_not_there_is_an_error(tmp_path: Path) -> None:
    touch("in/1.png", "in/3.txt")
    for name, text in (("in/2.png", "in"), ("in/2.png", "in/*.png"), ("alone.mp4", "alone.mp4")):
        Path(name).unlink(missing_ok=True)
        Path(name).symlink_to("gone")
        with pytest.raises(InputError) as caught:
            find_input(text).files({".png"})
        assert caught.value.message == f"a link to what is not there: {name} -> gone"
        assert caught.value.hint == "bring the file back, or remove the link"
    assert find_input("in/*.txt").files({".png"}) == [Path("in/3.txt")]
    Path("in/2.png").unlink()
    Path("in/2.png").symlink_to(tmp_path / "in" / "1.png")
    assert find_input("in").files({".png"}) == [Path("in/1.png"), Path("in/2.png")]
