from __future__ import annotations

import os
from pathlib import Path

import pytest

from flowcli import renames
from flowcli.renames import rename_new, replace_folder


@pytest.fixture(params=["renameat2", "links", "neither"])
def system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """What the file system can do."""
    can = str(request.param)
    if can != "renameat2":
        monkeypatch.setattr(renames, "_renameat2", lambda *arguments: False)
    if can == "neither":

        def link(*arguments: object, **options: object) -> None:
            raise PermissionError(1, os.strerror(1))

        monkeypatch.setattr(os, "link", link)
    return can


def test_a_new_name_replaces_nothing(tmp_path: Path, system: str) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_text("new")
    rename_new(source, target)
    assert not source.exists()
    assert target.read_text() == "new"
    source.write_text("newer")
    with pytest.raises(FileExistsError):
        rename_new(source, target)
    assert target.read_text() == "new"
    target.unlink()
    target.symlink_to("nowhere")
    with pytest.raises(FileExistsError):
        rename_new(source, target)
    assert target.is_symlink()
    assert source.read_text() == "newer"


def test_a_folder_is_replaced_and_the_files_of_others_stay(tmp_path: Path, system: str) -> None:
    new, target = tmp_path / "new", tmp_path / "target"
    for folder, names in ((new, ("1.flo", "2.flo")), (target, ("1.flo", "3.flo", "notes.txt", "sub/deep/a.txt"))):
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(folder.name)
    (target / "link").symlink_to("notes.txt")
    (target / "folder").symlink_to("sub", target_is_directory=True)
    (target / "empty").mkdir()
    target.chmod(0o750)
    replace_folder(new, target, tmp_path / "aside", lambda file: file.suffix == ".flo")
    files = {str(file.relative_to(target)): file.read_text() for file in target.rglob("*") if not file.is_dir()}
    assert files == {
        "1.flo": "new",
        "2.flo": "new",
        "notes.txt": "target",
        "link": "target",
        "sub/deep/a.txt": "target",
    }
    assert os.readlink(target / "link") == "notes.txt"
    assert os.readlink(target / "folder") == "sub"
    assert (target / "empty").is_dir()
    assert target.stat().st_mode & 0o777 == 0o750
    old = new if system == "renameat2" and new.exists() else tmp_path / "aside"
    assert (old / "3.flo").read_text() == "target"


def test_what_comes_in_the_middle_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    new, target = tmp_path / "new", tmp_path / "target"
    for folder in (new, target):
        folder.mkdir()
        (folder / "1.flo").write_text(folder.name)
    rename = os.rename

    def late(source: Path, place: Path) -> None:
        (tmp_path / "target" / "late.txt").write_text("late") if source == target else None
        rename(source, place)

    monkeypatch.setattr(renames, "_renameat2", lambda *arguments: False)
    monkeypatch.setattr(os, "rename", late)
    replace_folder(new, target, tmp_path / "aside", lambda file: file.suffix == ".flo")
    assert (target / "late.txt").read_text() == "late"
    assert (target / "1.flo").read_text() == "new"
