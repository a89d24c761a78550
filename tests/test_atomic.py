from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from flowcli.atomic import Part, check_free, write_error
from flowcli.errors import OutputError
from tests.tiny import ROOT

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
    with pytest.raises(OutputError, match=r"^output has appeared meanwhile: .*/a\.mp4$"):
        part.publish()
    assert names(tmp_path) == ["a.mp4"]


def test_errors_of_the_system_in_words(tmp_path: Path) -> None:
    error = write_error(tmp_path / "a", OSError(28, os.strerror(28)))
    assert error.message == f"cannot write {tmp_path}/a: No space left on device"
    assert write_error(tmp_path / "a", OSError("odd")).message.endswith(": odd")


LONGEST = [
    ("y" * 251 + ".mp4", False),
    ("動" * 80 + ".mp4", False),
    ("y" * 255, True),
    ("動" * 85, True),
    ("a." + "b" * 253, False),
]


@pytest.mark.parametrize(("name", "folder"), LONGEST)
def test_any_legal_name(tmp_path: Path, name: str, folder: bool) -> None:
    with Part(tmp_path / name, folder=folder) as part:
        (part.path / "1.flo" if folder else part.path).write_text("all")
        assert max(len(os.fsencode(each.name)) for each in tmp_path.rglob("*")) < 40
    assert names(tmp_path) == [name]


def test_a_name_that_is_too_long(tmp_path: Path) -> None:
    target = tmp_path / ("y" * 256)
    for make in (Part, check_free):
        with pytest.raises(OutputError) as caught:
            make(target)
        assert caught.value.message == f"cannot write {target}: File name too long"
        assert caught.value.hint == "choose a shorter name"


@pytest.mark.parametrize("folder", [False, True])
@pytest.mark.parametrize("there", [False, True])
def test_a_link_is_written_where_it_points(tmp_path: Path, folder: bool, there: bool) -> None:
    big = tmp_path / "big"
    big.mkdir()
    real, link = big / "real.mp4", tmp_path / "link.mp4"
    link.symlink_to(real)
    if there:
        (real if not folder else real / "old.txt").parent.mkdir(exist_ok=True)
        (real if not folder else real / "old.txt").write_text("old")
        with pytest.raises(OutputError, match=r"^output exists already: .*/link\.mp4$"):
            Part(link, folder=folder)
    with Part(link, overwrite=there, folder=folder) as part:
        (part.path / "1.flo" if folder else part.path).write_text("new")
        assert names(tmp_path) == ["big", "link.mp4"]
    assert link.is_symlink()
    assert (real / "1.flo" if folder else real).read_text() == "new"
    assert names(big) == ["real.mp4"]


def test_a_link_to_nowhere(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").symlink_to(tmp_path / "no" / "a.mp4")
    (tmp_path / "b.mp4").symlink_to("b.mp4")
    with pytest.raises(OutputError, match=r"^no such folder for the output: .*/no$"):
        Part(tmp_path / "a.mp4")
    with pytest.raises(OutputError):
        Part(tmp_path / "b.mp4")
    assert names(tmp_path) == ["a.mp4", "b.mp4"]


@pytest.mark.parametrize("linked", [False, True])
@pytest.mark.parametrize("folder", [False, True])
def test_what_is_no_file_is_not_replaced(tmp_path: Path, linked: bool, folder: bool) -> None:
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
    for name, what in (("pipe", "a pipe"), ("socket", "a socket"), ("/dev/null", "a device")):
        target = tmp_path / name
        if linked:
            target = tmp_path / f"link-{target.name}"
            target.symlink_to(tmp_path / name)
        with pytest.raises(OutputError) as caught:
            Part(target, overwrite=True, folder=folder)
        assert caught.value.message == f"output is {what}, not a file: {target}"
        assert caught.value.hint == "pass --out - and send stdout there"


def test_what_appears_meanwhile_stays(tmp_path: Path) -> None:
    file, folder = Part(tmp_path / "a.mp4"), Part(tmp_path / "flow", folder=True)
    file.path.write_text("new")
    (folder.path / "1.flo").write_text("new")
    (tmp_path / "a.mp4").write_text("theirs")
    (tmp_path / "flow").mkdir()
    (tmp_path / "flow" / "theirs").touch()
    for part in (file, folder):
        with pytest.raises(OutputError) as caught:
            part.publish()
        assert caught.value.message == f"output has appeared meanwhile: {part.target}"
        assert caught.value.hint == "pass -y to replace it, or choose another name"
    assert names(tmp_path) == ["a.mp4", "flow"]
    assert (tmp_path / "a.mp4").read_text() == "theirs"
    assert names(tmp_path / "flow") == ["theirs"]
    part = Part(tmp_path / "b.mp4", overwrite=True)
    part.path.touch()
    os.mkfifo(tmp_path / "b.mp4")
    with pytest.raises(OutputError, match=r"^output is a pipe, not a file: "):
        part.publish()
    assert names(tmp_path) == ["a.mp4", "b.mp4", "flow"]


def test_parts_of_one_folder_appear_together(tmp_path: Path) -> None:
    one, other = (Part(tmp_path / "flow", folder=True) for _ in range(2))
    (one.path / "1.flo").write_text("1")
    (other.path / "1.png").write_text("1")
    one.publish()
    assert not (tmp_path / "flow").exists()
    other.publish()
    assert names(tmp_path / "flow") == ["1.flo", "1.png"]
    one, other = (Part(tmp_path / "flow", overwrite=True, folder=True) for _ in range(2))
    (one.path / "2.flo").write_text("2")
    one.publish()
    other.discard()
    other.discard()
    assert names(tmp_path / "flow") == ["1.flo", "1.png"]
    assert names(tmp_path) == ["flow"]


@pytest.mark.parametrize("name", ["flow", "flow/sub", "."])
def test_the_folder_that_we_are_in_stays_that_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / "flow" / "sub").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / name)
    target = tmp_path / "flow"
    number = target.stat().st_ino
    with Part(target, overwrite=True, folder=True) as part:
        (part.path / "000000.flo").write_text("new")
        (target / "000007.flo").write_text("old")
    assert names(target) == ["000000.flo", "sub"]
    # Out of it, it is another one, put there at once.
    assert (target.stat().st_ino == number) == (name != ".")


_DYING = """
import itertools, os, signal, sys
from pathlib import Path
from flowcli import renames
from flowcli.atomic import Part

base, at_once = Path(sys.argv[1]), sys.argv[2] == "True"
if not at_once:
    renames._renameat2 = lambda *arguments: False

def dies(step, function):
    # This process, at the call of that number.
    def call(*arguments, **options):
        if next(steps) == step:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **options)
    return call

def write(target, word, count):
    with Part(target, overwrite=True, folder=True) as part:
        for number in range(count):
            (part.path / f"{number:06d}.flo").write_text(word)

for last in itertools.count():
    target = base / str(last) / "flow"
    pid = os.fork()
    if pid == 0:
        target.parent.mkdir(parents=True)
        if base.name == "again":
            write(target, "old", 5)
            (target / "notes.txt").write_text("mine")
        steps = itertools.count()
        for name in ("replace", "rename", "mkdir", "rmdir", "unlink", "link"):
            setattr(os, name, dies(last, getattr(os, name)))
        renames._renameat2 = dies(last, renames._renameat2)
        write(target, "new", 3)
        os._exit(0)
    if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0:
        break
print(last)
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("at_once", [False, True])
@pytest.mark.parametrize("run", ["first", "again"])
def test_killed_before_each_step(tmp_path: Path, run: str, at_once: bool) -> None:
    """The folder is the old one or the new one, or for a moment none, and the next run finds nothing else there."""
    base = tmp_path / run
    command = [sys.executable, "-c", _DYING, str(base), str(at_once)]
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True, timeout=120, stdout=subprocess.PIPE
    )
    steps = int(done.stdout)
    assert steps > 5
    old = {f"{number:06d}.flo": "old" for number in range(5)} | {"notes.txt": "mine"}
    new = {f"{number:06d}.flo": "new" for number in range(3)} | ({"notes.txt": "mine"} if run == "again" else {})
    seen = []
    for step in range(steps):
        target = base / str(step) / "flow"
        content = {path.name: path.read_text() for path in target.iterdir()} if target.exists() else None
        seen.append(content)
        if run == "first" or (not at_once and content is None):
            assert content in (None, new)
        else:
            assert content in (old, new)
        with Part(target, overwrite=True, folder=True) as part:
            (part.path / "000000.flo").write_text("newer")
        after = {"000000.flo": "newer"} | ({"notes.txt": "mine"} if run == "again" else {})
        assert {path.name: path.read_text() for path in target.iterdir()} == after
        assert names(target.parent) == ["flow"]
    assert new in seen
