from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flowcli.errors import FlowcliError, OutputError, UsageError
from flowcli.output.kinds import CONTAINERS, parse_kind
from flowcli.output.naming import Output, flow_direction, name_outputs, plan, plan_frames
from flowcli.output.options import FrameOptions, OutputOptions
from flowcli.types import Direction


@pytest.fixture(autouse=True)
def _inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


KNOWN = (
    "use .mp4 .mkv .mov .webm .gif .flo .png .jpg .tif .pfm .flo5 .npy .npz .exr .csv .json .jsonl, "
    "or end a folder's name with /"
)


PICTURES = "mp4 holds color, warp, occlusion, confidence or rgb"
FRAMES = "give a folder: --out frames/ --as rgb"


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
        ("a.mkv", "flow", Output(Path("a.mkv"), "flow", "mkv")),
        ("a.npy", "", Output(Path("a.npy"), "flow", "npy", stack=True)),
        ("a.npy", "i3d", Output(Path("a.npy"), "flow", "i3d")),
        ("a/", "npy", Output(Path("a"), "flow", "npy", folder=True)),
        ("a/", "exr", Output(Path("a"), "flow", "exr", folder=True)),
        ("a/", "flow.tsn", Output(Path("a"), "flow", "tsn", folder=True)),
        ("a/", "arrows", Output(Path("a"), "arrows", "png", folder=True)),
        ("-", "side-by-side", Output(None, "side-by-side", "y4m")),
        ("a.mp4", "occlusion", Output(Path("a.mp4"), "occlusion", "mp4", both=True)),
        ("a/", "confidence.jpg", Output(Path("a"), "confidence", "jpg", folder=True, both=True)),
        ("a.mkv", "trails", Output(Path("a.mkv"), "trails", "mkv", both=True)),
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
        ("a.exr", "", "flow", "exr"),
        ("a.npy", "", "flow", "npy"),
        ("a.npy", "i3d", "flow", "i3d"),
        ("a.flo5", "", "flow", "flo5"),
    ],
)
def test_meaning_for_a_pair(target: str, kind: str, what: str, form: str) -> None:
    assert planned(target, kinds=(kind,) if kind else (), pair=True) == [Output(Path(target), what, form)]  # type: ignore[arg-type]


def test_an_existing_folder_is_one_whatever_its_name(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").mkdir()
    assert planned("a.mp4") == [Output(Path("a.mp4"), "flow", "flo", folder=True)]


def test_both_directions_double_each_output() -> None:
    assert planned("a.mp4", "b/", direction="both") == [
        Output(Path("a.mp4"), "color", "mp4", both=True),
        Output(Path("a_bwd.mp4"), "color", "mp4", backward=True, both=True),
        Output(Path("b"), "flow", "flo", folder=True, both=True),
        Output(Path("b"), "flow", "flo", folder=True, tag="_bwd", backward=True, both=True),
    ]


def test_an_exr_holds_both_directions_but_no_stmap_does() -> None:
    both = Output(Path("e"), "flow", "exr", folder=True, both=True)
    for layout in ("nuke", "fusion", "blender"):
        assert planned("e/", kinds=("exr",), direction="both", exr=layout) == [both]
    assert planned("e/", kinds=("exr",), direction="both", exr="stmap") == [
        both,
        replace(both, tag="_bwd", backward=True),
    ]
    single = Output(Path("a.exr"), "flow", "exr", both=True)
    assert planned("a.exr", pair=True, direction="both") == [
        single,
        replace(single, path=Path("a_bwd.exr"), backward=True),
    ]


@pytest.mark.parametrize(("form", "package"), [("exr", "OpenEXR"), ("flo5", "h5py")])
def test_a_package_that_is_missing_is_named(form: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(OutputError) as caught:
        planned("a/", kinds=(form,))
    assert caught.value.message == f"{package} is needed to write {form}: a/"
    assert caught.value.hint == "pip install 'flowcli[formats]'"


def test_trails_are_one_output_in_both_directions() -> None:
    assert planned("a.mp4", kinds=("trails",), direction="both") == [Output(Path("a.mp4"), "trails", "mp4", both=True)]
    assert len(planned("-", kinds=("trails",), direction="both")) == 1


def test_frames_and_their_rows_are_one_output_in_both_directions() -> None:
    assert planned("a/", "a.csv", kinds=("rgb", "stats"), direction="both") == [
        Output(Path("a"), "rgb", "jpg", folder=True, both=True),
        Output(Path("a.csv"), "stats", "csv", both=True),
    ]


def test_style_is_what_color_means() -> None:
    kinds = ("png", "wheel", "hsv", "flow", "occlusion")
    outputs = planned("a/", "b.mp4", "c.mp4", "d/", "e/", kinds=kinds, style="arrows")
    assert [output.what for output in outputs] == ["arrows", "wheel", "hsv", "flow", "occlusion"]
    assert [output.style for output in outputs] == ["arrows", "wheel", "hsv", None, None]
    beside = planned("a/", "b.mp4", kinds=("side-by-side", "side-by-side"), style="arrows")
    assert [(output.style, output.beside, output.both) for output in beside] == [("side-by-side", "arrows", False)] * 2
    assert planned("a.mp4", style="side-by-side")[0].beside == "wheel"
    trails = planned("a.mp4", kinds=("side-by-side",), style="trails", direction="both")
    assert [(output.what, output.beside, output.both) for output in trails] == [("side-by-side", "trails", True)]
    assert planned("-", style="overlay") == [Output(None, "overlay", "y4m")]
    assert planned("a.mp4")[0].style == "wheel"


def test_masks_are_outputs_like_others() -> None:
    named = planned("a.mp4", occlusion=("b/", "c.png"), confidence=("d.webm",), pair=True)
    same = planned("a.mp4", "b/", "c.png", "d.webm", kinds=("color", "occlusion", "occlusion", "confidence"), pair=True)
    assert named == same
    assert planned("a.mp4", kinds=("warp",), occlusion=("b.mp4",))[1].what == "occlusion"
    assert planned(confidence=("-",)) == [Output(None, "confidence", "y4m", both=True)]


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
            "known: color flow warp occlusion confidence rgb stats wheel hsv arrows magnitude overlay side-by-side "
            "trails mp4 mkv mov webm gif flo png jpg tif pfm flo5 npy npz exr tsn i3d csv json jsonl y4m nut, or both "
            "as warp.png",
        ),
        ({"targets": ("a/",), "kinds": ("warp.flo",)}, "flo cannot hold warp: --as warp.flo", "flo holds flow"),
        ({"targets": ("a.mp4",), "kinds": ("flow",)}, "mp4 cannot hold flow: a.mp4", PICTURES),
        (
            {"targets": ("a.mp4",), "kinds": ("png",)},
            "--as png contradicts the suffix of a.mp4",
            "leave out png, or change the suffix",
        ),
        ({"targets": ("a/",), "kinds": ("mp4",)}, "mp4 is not written into a folder: a/", "use --out a.mp4"),
        ({"targets": ("a/",), "kinds": ("nut",)}, "nut is not written into a folder: a/", "use --out -"),
        ({"targets": ("a/",), "kinds": ("i3d",)}, "i3d is not written into a folder: a/", "use --out a.npy"),
        ({"targets": ("a/",), "kinds": ("stats",)}, "csv is not written into a folder: a/", "use --out a.csv"),
        ({"targets": ("a.jpg",), "kinds": ("rgb",)}, "one file cannot hold the frames: a.jpg", FRAMES),
        ({"targets": ("a.csv",), "direction": "backward"}, "stats go forward in time: a.csv", "leave out --backward"),
        ({"targets": ("a.jpg",), "kinds": ("tsn",)}, "tsn is several files: a.jpg", "give a folder: --out a/"),
        (
            {"targets": ("a.exr",)},
            "one file cannot hold the flows of a sequence: a.exr",
            "give a folder: --out flow/ --as flow.exr",
        ),
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
            "write mov, webm, png or tif, or use --holes black or keep",
        ),
        (
            {"targets": ("-",), "direction": "both"},
            "--both makes two outputs, stdout takes one",
            "use --backward, or write to files",
        ),
        (
            {"targets": ("a.mp4",), "max_flow": 9.0, "percentile": 90.0},
            "--percentile and --max-flow contradict each other",
            "leave one out",
        ),
        (
            {"targets": ("a/", "b.mp4"), "kinds": ("flo", "warp"), "style": "hsv"},
            "--style hsv, but nothing is drawn",
            "write a video, or a folder with --as png",
        ),
        (
            {"targets": ("a/",), "kinds": ("warp",), "occlusion": ("b/",), "legend": True},
            "--legend, but nothing is drawn",
            "write a video, or a folder with --as png",
        ),
        (
            {"targets": ("a/",), "methods": ("rpwc", "dis")},
            "--versus dis, but nothing is drawn",
            "write a video, or a folder with --as png",
        ),
        (
            {"targets": ("a.mp4",), "kinds": ("side-by-side",), "style": "trails", "direction": "backward"},
            "trails go forward in time: a.mp4",
            "leave out --backward",
        ),
        (
            {"targets": ("a.mp4",), "style": "trails", "direction": "backward"},
            "trails go forward in time: a.mp4",
            "leave out --backward",
        ),
        ({"targets": (), "occlusion": ("a.flo",)}, "flo cannot hold occlusion: a.flo", "flo holds flow"),
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
            KNOWN,
        ),
        "a.nut": (
            "unknown suffix .nut: a.nut",
            KNOWN,
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
    for name, form in CONTAINERS.items():
        target = {"video": f"a.{name}", "file": f"a.{form.suffix or name}", "stdout": "-"}.get(form.place, "a/")
        for what in form.whats:
            assert parse_kind(f"{what}.{name}") == (what, name)
            (output,) = planned(target, kinds=(f"{what}.{name}",))
            assert (output.what, output.format) == (what, name)


def test_errors_are_for_people() -> None:
    assert issubclass(UsageError, FlowcliError)
    assert UsageError.exit_code == 2


def framed(*targets: str, kinds: tuple[str, ...] = (), alpha: bool = False, one: bool = False) -> list[Output]:
    return plan_frames(FrameOptions(targets, kinds), alpha=alpha, one=one)


@pytest.mark.parametrize(
    ("target", "kind", "expected"),
    [
        ("a.mp4", "", Output(Path("a.mp4"), "frames", "mp4")),
        ("a.GIF", "gif", Output(Path("a.GIF"), "frames", "gif")),
        ("a/", "", Output(Path("a"), "frames", "png", folder=True)),
        ("a", "jpg", Output(Path("a"), "frames", "jpg", folder=True)),
        ("-", "", Output(None, "frames", "y4m")),
        ("-", "y4m", Output(None, "frames", "y4m")),
    ],
)
def test_meaning_for_frames(target: str, kind: str, expected: Output) -> None:
    assert framed(target, kinds=(kind,) if kind else ()) == [expected]


def test_one_frame_is_a_picture() -> None:
    assert framed("a.jpeg", one=True) == [Output(Path("a.jpeg"), "frames", "jpg")]
    assert framed("a.webm", "b/", alpha=True) == [
        Output(Path("a.webm"), "frames", "webm"),
        Output(Path("b"), "frames", "png", folder=True),
    ]


@pytest.mark.parametrize(
    ("call", "error", "message", "hint"),
    [
        (
            {"targets": ()},
            UsageError,
            "no output is named",
            "add --out out.mp4, --out frames/ (a folder of .png files) or --out -",
        ),
        (
            {"targets": ("a.png",)},
            UsageError,
            "one file cannot hold the frames of a sequence: a.png",
            "give a folder: --out frames/ --as png",
        ),
        (
            {"targets": ("a.flo",)},
            OutputError,
            "unknown suffix .flo: a.flo",
            "use .mp4 .mkv .mov .webm .gif .png .jpg .tif, or end a folder's name with /",
        ),
        (
            {"targets": ("a/",), "kinds": ("flo",)},
            UsageError,
            "unknown kind of pictures: --as flo",
            "known: mp4 mkv mov webm gif png jpg tif y4m",
        ),
        (
            {"targets": ("a/",), "kinds": ("pngs",)},
            UsageError,
            "unknown kind of pictures: --as pngs",
            "did you mean png?",
        ),
        (
            {"targets": ("a.mp4",), "alpha": True},
            UsageError,
            "mp4 has no transparency: a.mp4",
            "write mov, webm, png or tif",
        ),
        (
            {"targets": ("a/", "a")},
            UsageError,
            "two outputs have the same name: a/",
            "give each --out a name of its own",
        ),
    ],
)
def test_contradictions_for_frames(call: dict[str, Any], error: type[FlowcliError], message: str, hint: str) -> None:
    with pytest.raises(error) as caught:
        framed(*call.pop("targets"), **call)
    assert (caught.value.message, caught.value.hint) == (message, hint)


def test_frames_replace_neither_the_input_nor_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "in.mp4").touch()
    with pytest.raises(OutputError, match=r"^output would replace the input: in\.mp4$"):
        plan_frames(FrameOptions(("in.mp4",), overwrite=True), source=tmp_path / "in.mp4")
    with pytest.raises(OutputError, match=r"^output exists already: in\.mp4$"):
        framed("in.mp4")


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_the_way_that_flow_has_to_go(direction: Direction) -> None:
    def way(kind: str, **options: Any) -> Direction:
        return flow_direction(name_outputs(OutputOptions(("a/",), (kind,)), direction=direction), direction, **options)

    assert way("flo") == way("warp") == way("flo", read=True) == direction
    assert way("occlusion") == way("confidence", read=True) == "both"


def test_trails_take_flow_both_ways_where_it_can_be_had() -> None:
    trails = name_outputs(OutputOptions(("a/",), ("trails",)), direction="forward")
    assert flow_direction(trails, "forward") == "both"
    assert flow_direction(trails, "forward", read=True) == "forward"
