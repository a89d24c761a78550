from __future__ import annotations

import os
from pathlib import Path

import pytest

from flowcli.batch.lists import is_list, parse_list
from tests.folders import touch


@pytest.fixture(autouse=True)
def _inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


NAMES = ["a.mp4", "in/動き b.mp4"]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be"])
def test_lists_of_editors_and_shells(encoding: str, end: str) -> None:
    for text in (end.join(NAMES), end.join([*NAMES, "", ""])):
        marked = "\ufeff" + text if encoding == "utf-16-be" else text
        assert parse_list(marked.encode(encoding)) == NAMES


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_without_a_mark(encoding: str) -> None:
    assert parse_list("a.mp4\r\nb.mp4\r\n".encode(encoding)) == ["a.mp4", "b.mp4"]


def test_names_up_to_a_nul_may_hold_line_breaks() -> None:
    assert parse_list("\0".join([*NAMES, "two\nlines.mp4", ""]).encode()) == [*NAMES, "two\nlines.mp4"]
    assert parse_list(b"a\0b\0") == ["a", "b"]


def test_bytes_that_are_no_text_stay_a_name() -> None:
    (name,) = parse_list(b"caf\xe9.mp4\n")
    assert os.fsencode(name) == b"caf\xe9.mp4"


def test_blanks_and_quotes_around_names() -> None:
    text = b"a.mp4  \n\tb.mp4\n'c d.mp4'\n\"e.mp4\" \n'\n''\n'f.mp4\n \n"
    assert parse_list(text) == ["a.mp4", "b.mp4", "c d.mp4", "e.mp4", "'", "''", "'f.mp4"]
    touch("'c d.mp4'", "a.mp4  ")
    assert parse_list(text)[:3] == ["a.mp4  ", "b.mp4", "'c d.mp4'"]


def test_what_is_a_list() -> None:
    touch("names.TXT", "names.csv")
    Path("folder.txt").mkdir()
    named = [text for text in ("-", "names.TXT", "names.csv", "folder.txt", "gone.txt") if is_list(text)]
    assert named == ["-", "names.TXT"]
