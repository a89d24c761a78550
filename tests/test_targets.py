from __future__ import annotations

from pathlib import Path

import pytest

from flowcli.errors import FlowcliError, OutputError, UsageError
from flowcli.targets import check_distinct, check_package, check_target, pair_kinds
from tests.folders import touch


@pytest.fixture(autouse=True)
def _inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_each_target_has_the_kind_that_is_named_for_it() -> None:
    assert pair_kinds(["a", "b"], []) == [("a", ""), ("b", "")]
    assert pair_kinds(["a", "b"], ["flo", "png"]) == [("a", "flo"), ("b", "png")]
    with pytest.raises(UsageError, match=r"^2 --as for 1 --out$"):
        pair_kinds(["a"], ["flo", "png"])


def test_outputs_may_share_a_folder_and_nothing_else() -> None:
    check_distinct([(Path("a"), ""), (Path("b"), ""), (None, ""), (Path("c"), "flo"), (Path("c"), "_bwdflo")])
    Path("link").symlink_to("a")
    for places, name, hint in (
        ([(Path("a"), ""), (Path("link"), "")], "link", "give each --out a name of its own"),
        ([(Path("c"), "flo"), (Path("./c"), "flo")], "c/", "give each --out a name of its own"),
        ([(None, ""), (None, "")], "stdout", "only one output can go there"),
    ):
        with pytest.raises(UsageError) as caught:
            check_distinct(places)
        assert (caught.value.message, caught.value.hint) == (f"two outputs have the same name: {name}", hint)


def test_no_output_replaces_an_input() -> None:
    touch("in.mp4", "frames/1.png", "taken.mp4")
    check_target(Path("free.mp4"), [Path("in.mp4"), Path("gone.mp4")], overwrite=False)
    check_target(Path("taken.mp4"), [Path("in.mp4")], overwrite=True)
    for target, inputs, overwrite, message in (
        ("in.mp4", ["gone.mp4", "./in.mp4"], True, "output would replace the input: in.mp4"),
        ("frames", ["frames"], True, "output would replace the input: frames/"),
        ("taken.mp4", ["in.mp4"], False, "output exists already: taken.mp4"),
    ):
        with pytest.raises(OutputError) as caught:
            check_target(Path(target), map(Path, inputs), overwrite, folder=target == "frames")
        assert caught.value.message == message


def test_a_package_that_is_missing_is_named() -> None:
    check_package("", "formats", "flo", "a.flo")
    check_package("json", "formats", "flo", "a.flo")
    with pytest.raises(FlowcliError) as caught:
        check_package("no_such_package", "formats", "exr", "a.exr")
    assert caught.value.message == "no_such_package is needed to write exr: a.exr"
    assert caught.value.hint == "pip install 'flowcli[formats]'"
