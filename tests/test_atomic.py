from __future__ import annotations

import os
from pathlib import Path

import pytest

from flowcli.atomic import Part, check_free, write_error
from flowcli.errors import OutputError

AS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_whole(tmp_path: Path) -> None:
    target = tmp_path / "a.mp4"
    part = Part(target)
    part.path.write_text("all of it")
    assert part.path.suffix == ".mp4"
    assert not target.exists()
    part.publish()
    assert target.read_text() == "all of it"
    assert names(tmp_path) == ["a.mp4"]


def test_what_is_discarded_leaves_nothing_and_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "a.mp4"
    target.write_text("old")
    part = Part(target, overwrite=True)
    part.path.write_text("new")
    part.discard()
    assert target.read_text() == "old"
    assert names(tmp_path) == ["a.mp4"]


def test_a_folder_appears_whole(tmp_path: Path) -> None:
    part = Part(tmp_path / "flow", folder=True)
    (part.path / "1.flo").write_text("1")
    assert not (tmp_path / "flow").exists()
    part.publish()
    assert names(tmp_path) == ["flow"]
    assert names(tmp_path / "flow") == ["1.flo"]


def test_a_folder_joins_the_one_that_is_there(tmp_path: Path) -> None:
    target = tmp_path / "flow"
    target.mkdir()
    for name in ("1.flo", "notes.txt"):
        (target / name).write_text("old")
    part = Part(target, overwrite=True, folder=True)
    (target / "sub").mkdir()
    (target / "sub" / "3.flo").write_text("old")
    for folder in ("sub", "fresh"):
        (part.path / folder).mkdir()
    for name in ("1.flo", "2.flo", "sub/4.flo", "fresh/5.flo"):
        (part.path / name).write_text("new")
    part.publish()
    files = [path for path in target.rglob("*") if path.is_file()]
    assert {str(path.relative_to(target)): path.read_text() for path in files} == {
        "1.flo": "new",
        "2.flo": "new",
        "notes.txt": "old",
        "sub/3.flo": "old",
        "sub/4.flo": "new",
        "fresh/5.flo": "new",
    }
    assert names(tmp_path) == ["flow"]


def test_a_discarded_folder_leaves_nothing(tmp_path: Path) -> None:
    part = Part(tmp_path / "flow", folder=True)
    (part.path / "1.flo").write_text("1")
    part.discard()
    assert names(tmp_path) == []


def test_as_a_block(tmp_path: Path) -> None:
    def fill(name: str, content: str, error: Exception | None = None) -> None:
        with Part(tmp_path / name) as part:
            part.path.write_text(content)
            if error is not None:
                raise error

    fill("good", "good")
    with pytest.raises(KeyError):
        fill("bad", "bad", KeyError())
    with pytest.raises(OutputError, match=r"^cannot write .*full: No space left on device$"):
        fill("full", "half", OSError(28, os.strerror(28)))
    assert names(tmp_path) == ["good"]


def test_two_parts_of_one_target_do_not_meet(tmp_path: Path) -> None:
    one, other = Part(tmp_path / "a.png"), Part(tmp_path / "a.png")
    assert one.path != other.path


def test_a_name_that_is_taken(tmp_path: Path) -> None:
    target = tmp_path / "a.mp4"
    target.touch()
    with pytest.raises(OutputError) as caught:
        check_free(target)
    assert caught.value.message == f"output exists already: {target}"
    assert caught.value.hint == "pass -y to replace it, or choose another name"
    check_free(target, overwrite=True)


def test_an_empty_folder_is_free_and_a_full_one_is_not(tmp_path: Path) -> None:
    target = tmp_path / "flow"
    target.mkdir()
    check_free(target, folder=True)
    (target / "1.flo").touch()
    with pytest.raises(OutputError, match=r"^output exists already: "):
        check_free(target, folder=True)
    check_free(target, overwrite=True, folder=True)


@pytest.mark.parametrize("overwrite", [False, True])
def test_files_and_folders_do_not_replace_each_other(tmp_path: Path, overwrite: bool) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"^output is a file, a folder is needed: "):
        check_free(tmp_path / "file", overwrite, folder=True)
    with pytest.raises(OutputError, match=r"^output is a folder, a file is needed: "):
        check_free(tmp_path, overwrite)


def test_a_parent_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(OutputError) as caught:
        check_free(tmp_path / "no/a.mp4")
    assert caught.value.message == f"no such folder for the output: {tmp_path}/no"
    assert caught.value.hint == f"create it: mkdir -p {tmp_path}/no"


@pytest.mark.skipif(AS_ROOT, reason="root writes everywhere")
def test_a_parent_that_takes_nothing(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match=r"^output folder is not writable: "):
        check_free(tmp_path / "a.mp4")


def test_publishing_over_a_folder_fails_and_cleans_up(tmp_path: Path) -> None:
    part = Part(tmp_path / "a.mp4")
    part.path.write_text("new")
    (tmp_path / "a.mp4").mkdir()
    with pytest.raises(OutputError, match=r"^cannot write "):
        part.publish()
    assert names(tmp_path) == ["a.mp4"]


def test_errors_of_the_system_in_words(tmp_path: Path) -> None:
    error = write_error(tmp_path / "a", OSError(28, os.strerror(28)))
    assert error.message == f"cannot write {tmp_path}/a: No space left on device"
    assert write_error(tmp_path / "a", OSError("odd")).message.endswith(": odd")
