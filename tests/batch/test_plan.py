from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import pytest

from flowcli.batch.items import Item
from flowcli.batch.plan import TEMPLATE, Plan, check_places, plan_items
from flowcli.errors import OutputError, UsageError
from flowcli.output.naming import Output
from flowcli.output.options import OutputOptions
from flowcli.types import Direction


def planned(
    place: Path, names: Sequence[str], kinds: str, template: str = TEMPLATE, direction: Direction = "forward"
) -> list[Plan]:
    """Plans for files, and for folders whose names end with a slash, all below `place`/in."""
    items = []
    for name in names:
        path = place / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("/"):
            path.mkdir()
        else:
            path.touch()
        items.append(Item(name.rstrip("/"), path))
    return plan_items(items, place / "out", OutputOptions(kinds=tuple(kinds.split())), direction, template)


@pytest.mark.parametrize(
    ("kinds", "direction", "places"),
    [
        ("color", "forward", ["a.b/x.y.mp4"]),
        ("webm warp.mkv", "forward", ["a.b/x.y.webm", "a.b/x.y.mkv"]),
        ("flow", "forward", ["a.b/x.y"]),
        ("color color.mp4", "forward", ["a.b/x.y.mp4"]),
        ("flo flow.png color", "forward", ["a.b/x.y", "a.b/x.y.mp4"]),
        ("color flo", "both", ["a.b/x.y.mp4", "a.b/x.y_bwd.mp4", "a.b/x.y"]),
    ],
)
def test_outputs_mirror_the_item(tmp_path: Path, kinds: str, direction: Direction, places: list[str]) -> None:
    (plan,) = planned(tmp_path, ["a.b/x.y.mkv"], kinds, direction=direction)
    assert plan.places == places
    (folder,) = planned(tmp_path / "f", ["a.b/x.y/"], kinds, direction=direction)
    assert folder.places == places


def test_outputs_are_those_of_estimate(tmp_path: Path) -> None:
    (plan,) = planned(tmp_path, ["x.mkv"], "warp flow.png", direction="both")
    video, folder = tmp_path / "out/x.mp4", tmp_path / "out/x"
    assert plan.outputs == (
        Output(video, "warp", "mp4", both=True),
        Output(video.with_stem("x_bwd"), "warp", "mp4", backward=True, both=True),
        Output(folder, "flow", "png", folder=True, both=True),
        Output(folder, "flow", "png", folder=True, tag="_bwd", backward=True, both=True),
    )


@pytest.mark.parametrize(
    ("template", "places"),
    [
        ("{folder}/{stem}_{what}", ["a/x_color.mp4", "a/x_flow"]),
        ("{what}/{folder}/{name}", ["color/a/x.mkv.mp4", "flow/a/x.mkv"]),
        ("{format}-{stem}{{}}", ["mp4-x{}.mp4", "flo-x{}"]),
    ],
)
def test_templates(tmp_path: Path, template: str, places: list[str]) -> None:
    (plan,) = planned(tmp_path, ["a/x.mkv"], "color flo", template)
    assert plan.places == places


FILES = "name a kind of file: --as color --as flo --as warp.png"
EXAMPLE = "use for example {folder}/{stem}_{what}"
HINT = "there are {folder} {stem} {name} {what} {format}"
APART = f"tell them apart: --name '{{folder}}/{{name}}_{{what}}'; {HINT}"


@pytest.mark.parametrize(
    ("names", "kinds", "template", "message", "hint"),
    [
        ("x.mkv", "color", "{stem", "--name {stem: expected '}' before end of string", HINT),
        ("x.mkv", "color", "{stem.__class__}", "--name {stem.__class__}: unknown field {stem.__class__}", HINT),
        ("x.mkv", "color", "{stem!r}", "--name {stem!r}: unknown field {stem}", HINT),
        ("x.mkv", "color", "{stem:>9}", "--name {stem:>9}: unknown field {stem}", HINT),
        ("x.mkv", "color", "{}", "--name {}: unknown field {}", HINT),
        ("x.mkv", "color", "{folder}", "--name {folder} makes no name of x.mkv", EXAMPLE),
        ("x.mkv", "color", "../x", "--name ../x makes no name of x.mkv", EXAMPLE),
        ("x.mkv", "color warp", TEMPLATE, "two kinds have the same output: x.mp4", APART),
        ("x.mkv", "png warp.png", TEMPLATE, "two kinds have the same output: x/", APART),
        ("a/x.mkv a/x.mp4", "color", TEMPLATE, "a/x.mkv and a/x.mp4 have the same output: a/x.mp4", APART),
        ("x.mkv x/y.mkv", "flo", TEMPLATE, "the output of x/y.mkv would lie in that of x.mkv: x/y", APART),
        ("x.mkv", "nut", TEMPLATE, "nut is for stdout: --as nut", FILES),
    ],
)  # fmt: skip
def test_contradictions(tmp_path: Path, names: str, kinds: str, template: str, message: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        planned(tmp_path, names.split(), kinds, template)
    assert (caught.value.message, caught.value.hint) == (message, hint)


def test_what_others_made_is_not_replaced(tmp_path: Path) -> None:
    plans = planned(tmp_path, ["x.mkv"], "color flo")
    out = tmp_path / "out"
    check_places(plans, set(), overwrite=False)
    (out / "x").mkdir(parents=True)
    check_places(plans, set(), overwrite=False)
    (out / "x.mp4").touch()
    with pytest.raises(OutputError) as caught:
        check_places(plans, {"x"}, overwrite=False)
    assert caught.value.message == f"output exists already: {out}/x.mp4"
    assert caught.value.hint == "pass -y to replace it, or choose another folder"
    check_places(plans, {"x.mp4"}, overwrite=False)
    check_places(plans, set(), overwrite=True)
    (out / "x" / "mine.flo").touch()
    for overwrite in (False, True):
        with pytest.raises(OutputError) as caught:
            check_places(plans, {"x.mp4"}, overwrite=overwrite)
        assert caught.value.message == f"output folder holds other files: {out}/x"
    check_places(plans, {"x", "x.mp4"}, overwrite=False)


def test_no_output_replaces_an_input(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "in")
    for name, kind in (("x.mp4", "color"), ("f/", "flo")):
        plans = planned(tmp_path, [name], kind)
        for owned, overwrite in itertools.product((set(), {"x.mp4", "f"}), (False, True)):
            with pytest.raises(OutputError) as caught:
                check_places(plans, owned, overwrite)
            assert caught.value.message == f"output would replace the input: {tmp_path}/out/{name.rstrip('/')}"
