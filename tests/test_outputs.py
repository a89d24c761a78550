from __future__ import annotations

import os
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from flowcli.effects import Color
from flowcli.errors import FlowcliError, OutputError, UsageError
from flowcli.outputs import FORMATS, Output, OutputOptions, open_outputs, parse_kind, plan
from flowcli.types import FlowField, FlowPair, Frame, StreamInfo


@pytest.fixture(autouse=True)
def _inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def planned(*targets: str, kinds: tuple[str, ...] = (), pair: bool = False, **options: Any) -> list[Output]:
    direction = options.pop("direction", "forward")
    return plan(OutputOptions(targets, kinds, **options), direction=direction, pair=pair)


@pytest.mark.parametrize(
    ("target", "kind", "expected"),
    [
        ("a.mp4", "", Output(Path("a.mp4"), "color", "mp4")),
        ("a.MKV", "", Output(Path("a.MKV"), "color", "mkv")),
        ("a.webm", "warp", Output(Path("a.webm"), "warp", "webm")),
        ("a.gif", "color.gif", Output(Path("a.gif"), "color", "gif")),
        ("a/", "", Output(Path("a"), "flow", "flo", folder=True)),
        ("a", "", Output(Path("a"), "flow", "flo", folder=True)),
        ("a", "png", Output(Path("a"), "color", "png", folder=True)),
        ("a.b/", "color", Output(Path("a.b"), "color", "png", folder=True)),
        ("a/", "warp", Output(Path("a"), "warp", "png", folder=True)),
        ("a/", "flow.png", Output(Path("a"), "flow", "png", folder=True)),
        ("a/", "warp.jpg", Output(Path("a"), "warp", "jpg", folder=True)),
        ("-", "", Output(None, "color", "y4m")),
        ("-", "flow", Output(None, "flow", "nut")),
        ("-", "nut", Output(None, "flow", "nut")),
        ("-", "warp", Output(None, "warp", "y4m")),
    ],
)
def test_meaning_for_a_video(target: str, kind: str, expected: Output) -> None:
    assert planned(target, kinds=(kind,) if kind else ()) == [expected]


@pytest.mark.parametrize(
    ("target", "kind", "what", "form"),
    [
        ("a.flo", "", "flow", "flo"),
        ("a.png", "", "color", "png"),
        ("a.png", "flow", "flow", "png"),
        ("a.png", "warp", "warp", "png"),
        ("a.jpeg", "", "color", "jpg"),
    ],
)
def test_meaning_for_a_pair(target: str, kind: str, what: str, form: str) -> None:
    assert planned(target, kinds=(kind,) if kind else (), pair=True) == [Output(Path(target), what, form)]  # type: ignore[arg-type]


def test_an_existing_folder_is_one_whatever_its_name(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").mkdir()
    assert planned("a.mp4") == [Output(Path("a.mp4"), "flow", "flo", folder=True)]


def test_both_directions_double_each_output() -> None:
    assert planned("a.mp4", "b/", direction="both") == [
        Output(Path("a.mp4"), "color", "mp4"),
        Output(Path("a_bwd.mp4"), "color", "mp4", backward=True),
        Output(Path("b"), "flow", "flo", folder=True),
        Output(Path("b"), "flow", "flo", folder=True, backward=True),
    ]
    assert [output.tag for output in planned("b/", direction="both")] == ["", "_bwd"]


def test_one_folder_takes_two_kinds_of_files() -> None:
    assert len(planned("b/", "b/", kinds=("flo", "png"))) == 2


@pytest.mark.parametrize(
    ("call", "message", "hint"),
    [
        (
            {"targets": ()},
            "no output is named",
            "add --out flow.mp4, --out flow/ (a folder of .flo files) or --out -",
        ),
        (
            {"targets": ("a.mp4", "b/"), "kinds": ("flo",)},
            "1 --as for 2 --out",
            "give one --as per --out, in the same order",
        ),
        ({"targets": ("a.mp4",), "kinds": ("wrap",)}, "unknown kind of output: --as wrap", "did you mean warp?"),
        (
            {"targets": ("a.mp4",), "kinds": ("wrap.png",)},
            "unknown kind of output: --as wrap.png",
            "did you mean warp.png?",
        ),
        (
            {"targets": ("a.mp4",), "kinds": ("zzz",)},
            "unknown kind of output: --as zzz",
            "known: color flow warp mp4 mkv mov webm gif flo png jpg y4m nut, or both as warp.png",
        ),
        ({"targets": ("a/",), "kinds": ("warp.flo",)}, "flo cannot hold warp: --as warp.flo", "flo holds flow"),
        ({"targets": ("a.mp4",), "kinds": ("flow",)}, "mp4 cannot hold flow: a.mp4", "mp4 holds color or warp"),
        (
            {"targets": ("a.mp4",), "kinds": ("png",)},
            "--as png contradicts the suffix of a.mp4",
            "leave out png, or change the suffix",
        ),
        ({"targets": ("a/",), "kinds": ("mp4",)}, "mp4 is not written into a folder: a/", "use --out a.mp4"),
        ({"targets": ("a/",), "kinds": ("nut",)}, "nut is not written into a folder: a/", "use --out -"),
        (
            {"targets": ("-",), "kinds": ("mp4",)},
            "mp4 cannot be written to stdout",
            "use --as y4m (pictures) or --as nut (flow)",
        ),
        (
            {"targets": ("a.flo",)},
            "one file cannot hold the flows of a sequence: a.flo",
            "give a folder: --out flow/",
        ),
        (
            {"targets": ("a.mp4",), "kinds": ("warp",), "holes": "transparent"},
            "mp4 has no transparency for --holes transparent: a.mp4",
            "write mov, webm or png, or use --holes black or keep",
        ),
        (
            {"targets": ("-",), "direction": "both"},
            "--both makes two outputs, stdout takes one",
            "use --backward, or write to files",
        ),
        ({"targets": ("-", "-")}, "two outputs have the same name: stdout", "only one output can go there"),
        (
            {"targets": ("a.mp4", "./a.mp4")},
            "two outputs have the same name: a.mp4",
            "give each --out a name of its own",
        ),
        (
            {"targets": ("a.mp4", "a_bwd.mp4"), "direction": "both"},
            "two outputs have the same name: a_bwd.mp4",
            "give each --out a name of its own",
        ),
        (
            {"targets": ("a/", "a"), "kinds": ("png", "warp")},
            "two outputs have the same name: a/",
            "give each --out a name of its own",
        ),
    ],
)
def test_contradictions(call: dict[str, Any], message: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        planned(*call.pop("targets"), **call)
    assert (caught.value.message, caught.value.hint) == (message, hint)


def test_names_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "there.mp4").touch()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    (tmp_path / "file").touch()
    cases = {
        "a.bin": (
            "unknown suffix .bin: a.bin",
            "use .mp4 .mkv .mov .webm .gif .flo .png .jpg, or end a folder's name with /",
        ),
        "a.nut": (
            "unknown suffix .nut: a.nut",
            "use .mp4 .mkv .mov .webm .gif .flo .png .jpg, or end a folder's name with /",
        ),
        "there.mp4": ("output exists already: there.mp4", "pass -y to replace it, or choose another name"),
        "full": ("output exists already: full", "pass -y to replace it, or choose another name"),
        "file/": ("output is a file, a folder is needed: file", "choose another name"),
        "no/a.mp4": ("no such folder for the output: no", "create it: mkdir -p no"),
        "file/a.mp4": ("no such folder for the output: file", "create it: mkdir -p file"),
    }
    for target, expected in cases.items():
        with pytest.raises(OutputError) as caught:
            planned(target)
        assert (caught.value.message, caught.value.hint) == expected
    assert planned("there.mp4", "full", overwrite=True)


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_folder_that_is_not_writable(tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(OutputError, match=r"^output folder is not writable: locked$"):
        planned("locked/a.mp4")


def test_backward_file_must_be_free_too(tmp_path: Path) -> None:
    (tmp_path / "a_bwd.mp4").touch()
    with pytest.raises(OutputError, match=r"^output exists already: a_bwd\.mp4$"):
        planned("a.mp4", direction="both")


def test_no_output_replaces_the_input(tmp_path: Path) -> None:
    (tmp_path / "in.mp4").touch()
    options = OutputOptions(("./in.mp4",), overwrite=True)
    with pytest.raises(OutputError) as caught:
        plan(options, direction="forward", pair=False, source=tmp_path / "in.mp4")
    assert caught.value.message == "output would replace the input: in.mp4"


def test_every_format_can_be_named_and_written() -> None:
    for name, form in FORMATS.items():
        target = {"video": f"a.{name}", "files": "a/", "stdout": "-"}[form.place]
        for what in form.whats:
            assert parse_kind(f"{what}.{name}") == (what, name)
            (output,) = planned(target, kinds=(f"{what}.{name}",))
            assert (output.what, output.format) == (what, name)


def test_outputs_compute_in_one_thread_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, seen = torch.get_num_threads(), []

    def draw(self: Color, pair: FlowPair) -> Frame:
        seen.append(torch.get_num_threads())
        return pair.first

    monkeypatch.setattr(Color, "__call__", draw)
    frame = Frame(np.zeros((4, 6, 3), np.uint8), 0, Fraction(0))
    info, options = StreamInfo(4, 6, Fraction(25)), OutputOptions(("a/",))
    (opened,) = open_outputs([Output(Path("a"), "color", "png", folder=True)], info, options, sys.stdout.buffer)
    opened.sink.write(FlowPair(frame, frame, FlowField(torch.zeros(2, 4, 6))))
    opened.sink.close()
    assert seen == [1]
    assert torch.get_num_threads() == before
    assert Path("a/000000.png").is_file()


def test_errors_are_for_people() -> None:
    assert issubclass(UsageError, FlowcliError)
    assert UsageError.exit_code == 2
