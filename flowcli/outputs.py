"""What `--out` and `--as` mean: each pair of them becomes an output, an effect and the sink behind it."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Generic, Literal, TypeVar, get_args

from flowcli.atomic import check_free
from flowcli.errors import OutputError, UsageError
from flowcli.types import Direction, FlowPair, Frame, Sink, StreamInfo

if TYPE_CHECKING:
    from flowcli.effects import Color, Holes
    from flowcli.pipeline import Background, Stopwatch

What = Literal["color", "flow", "warp"]
WHATS: tuple[What, ...] = get_args(What)
BACKWARD_TAG = "_bwd"

Product = TypeVar("Product")


@dataclass(frozen=True)
class Format:
    """A way to store pictures or flow."""

    place: Literal["video", "files", "stdout"]
    """`files`: one file for a pair of pictures, a folder of files for a video."""
    whats: tuple[What, ...]
    """What it can hold, the default first."""
    alpha: bool = False
    """Whether it holds transparency."""


FORMATS = {
    "mp4": Format("video", ("color", "warp")),
    "mkv": Format("video", ("color", "warp")),
    "mov": Format("video", ("color", "warp"), alpha=True),
    "webm": Format("video", ("color", "warp"), alpha=True),
    "gif": Format("video", ("color", "warp")),
    "flo": Format("files", ("flow",)),
    "png": Format("files", ("color", "warp", "flow"), alpha=True),
    "jpg": Format("files", ("color", "warp")),
    "y4m": Format("stdout", ("color", "warp")),
    "nut": Format("stdout", ("flow",)),
}


@dataclass(frozen=True)
class OutputOptions:
    """What the user asked for; `kinds` is empty or as long as `targets`."""

    targets: tuple[str, ...]
    kinds: tuple[str, ...] = ()
    max_flow: float | None = None
    """Magnitude in pixels at which colours are full; None follows the video."""
    legend: bool = False
    holes: Holes = "black"
    fps: Fraction | None = None
    crf: int | None = None
    overwrite: bool = False


@dataclass(frozen=True)
class Output:
    """One place to write to. `path` is None for stdout."""

    path: Path | None
    what: What
    format: str
    folder: bool = False
    backward: bool = False
    """Holds the backward flow of a pair that has both."""

    @property
    def tag(self) -> str:
        """Added to the names of files in a folder."""
        return BACKWARD_TAG if self.backward and self.folder else ""

    @property
    def video(self) -> bool:
        return FORMATS[self.format].place == "video"

    def __str__(self) -> str:
        return "stdout" if self.path is None else f"{self.path}{'/' if self.folder else ''}"


@dataclass(frozen=True, eq=False)
class Mapped(Generic[Product]):
    """A sink for pairs: hands on what `convert` makes of each."""

    convert: Callable[[FlowPair], Product]
    sink: Sink[Product]

    def write(self, pair: FlowPair) -> None:
        self.sink.write(self.convert(pair))

    def close(self) -> None:
        self.sink.close()

    def abort(self) -> None:
        self.sink.abort()


@dataclass(frozen=True, eq=False)
class Opened:
    """An output that is being written."""

    output: Output
    sink: Background[FlowPair]
    watch: Stopwatch
    """Counts the time that drawing and writing took."""
    color: Color | None
    """The colouring, which knows its scale; None where the output is not coloured."""


def plan(options: OutputOptions, *, direction: Direction, pair: bool, source: Path | None = None) -> list[Output]:
    """The outputs that `options` name, checked as far as that is possible without the input.

    pair: exactly one flow will come. source: the input if it is a file or a folder, which no output may replace.
    Raises UsageError for a contradiction, OutputError for a name that cannot be written.
    """
    if not options.targets:
        raise UsageError("no output is named", "add --out flow.mp4, --out flow/ (a folder of .flo files) or --out -")
    if options.kinds and len(options.kinds) != len(options.targets):
        raise UsageError(
            f"{len(options.kinds)} --as for {len(options.targets)} --out", "give one --as per --out, in the same order"
        )
    kinds = options.kinds or ("",) * len(options.targets)
    outputs = [_output(target, kind) for target, kind in zip(options.targets, kinds, strict=True)]
    for output in outputs:
        _check_kind(output, options, direction, pair)
    if direction == "both":
        outputs = [each for output in outputs for each in (output, _backward(output))]
    _check_distinct(outputs)
    for output in outputs:
        if output.path is not None:
            if source is not None and output.path.exists() and output.path.samefile(source):
                raise OutputError(f"output would replace the input: {output}", "choose another name")
            check_free(output.path, options.overwrite, output.folder)
    return outputs


def parse_kind(word: str) -> tuple[What | None, str | None]:
    """What and format that an `--as` word names: WHAT, FORMAT or WHAT.FORMAT. Raises UsageError."""
    first, dot, rest = word.partition(".")
    what = first if dot or word in WHATS else None
    form = rest if dot else None if what else word
    if what not in (None, *WHATS) or form not in (None, *FORMATS):
        known = [*WHATS, *FORMATS, *(f"{each}.{name}" for name in FORMATS for each in FORMATS[name].whats)]
        close = difflib.get_close_matches(word, known, 1)
        hint = f"did you mean {close[0]}?" if close else f"known: {' '.join([*WHATS, *FORMATS])}, or both as warp.png"
        raise UsageError(f"unknown kind of output: --as {word}", hint)
    if what and form and what not in FORMATS[form].whats:
        raise UsageError(f"{form} cannot hold {what}: --as {word}", f"{form} holds {_either(FORMATS[form].whats)}")
    return what, form


def _output(target: str, word: str) -> Output:
    what, form = parse_kind(word) if word else (None, None)
    if target == "-":
        form = form or ("nut" if what == "flow" else "y4m")
        if FORMATS[form].place != "stdout":
            raise UsageError(f"{form} cannot be written to stdout", "use --as y4m (pictures) or --as nut (flow)")
        return Output(None, what or FORMATS[form].whats[0], form)
    path = Path(target)
    folder = target.endswith("/") or path.is_dir() or not path.suffix
    if folder:
        form = form or ("flo" if what in (None, "flow") else "png")
        if FORMATS[form].place != "files":
            raise UsageError(f"{form} is not written into a folder: {target}", _place_hint(form, path))
    else:
        suffix = path.suffix[1:].lower()
        suffix = "jpg" if suffix == "jpeg" else suffix
        if suffix not in FORMATS or FORMATS[suffix].place == "stdout":
            known = " ".join(f".{name}" for name, each in FORMATS.items() if each.place != "stdout")
            raise OutputError(f"unknown suffix {path.suffix}: {target}", f"use {known}, or end a folder's name with /")
        if form not in (None, suffix):
            raise UsageError(
                f"--as {word} contradicts the suffix of {target}", f"leave out {form}, or change the suffix"
            )
        form = suffix
    if what and what not in FORMATS[form].whats:
        raise UsageError(f"{form} cannot hold {what}: {target}", f"{form} holds {_either(FORMATS[form].whats)}")
    return Output(path, what or FORMATS[form].whats[0], form, folder)


def _check_kind(output: Output, options: OutputOptions, direction: Direction, pair: bool) -> None:
    form = FORMATS[output.format]
    if form.place == "files" and not output.folder and not pair:
        raise UsageError(f"one file cannot hold the flows of a sequence: {output}", "give a folder: --out flow/")
    if output.what == "warp" and options.holes == "transparent" and not form.alpha:
        raise UsageError(
            f"{output.format} has no transparency for --holes transparent: {output}",
            f"write {_either([name for name, each in FORMATS.items() if each.alpha])}, or use --holes black or keep",
        )
    if output.path is None and direction == "both":
        raise UsageError("--both makes two outputs, stdout takes one", "use --backward, or write to files")


def _backward(output: Output) -> Output:
    if output.folder or output.path is None:
        return replace(output, backward=True)
    return replace(output, backward=True, path=output.path.with_stem(output.path.stem + BACKWARD_TAG))


def _check_distinct(outputs: Sequence[Output]) -> None:
    seen = set()
    for output in outputs:
        place = "-" if output.path is None else str(output.path.resolve())
        key = (place, output.tag + output.format if output.folder else "")
        if key in seen:
            hint = "only one output can go there" if output.path is None else "give each --out a name of its own"
            raise UsageError(f"two outputs have the same name: {output}", hint)
        seen.add(key)


def _either(names: Sequence[str]) -> str:
    return " or ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _place_hint(form: str, path: Path) -> str:
    return f"use --out {path.name or 'flow'}.{form}" if FORMATS[form].place == "video" else "use --out -"


def open_outputs(outputs: Sequence[Output], info: StreamInfo, options: OutputOptions, stdout: BinaryIO) -> list[Opened]:
    """The outputs, open for writing, each in its own thread; `info` is the source's. An error leaves none behind."""
    opened: list[Opened] = []
    try:
        for output in outputs:
            opened.append(_open(output, info, options, stdout))
    except BaseException:
        for each in opened:
            each.sink.abort()
        raise
    return opened


def _open(output: Output, info: StreamInfo, options: OutputOptions, stdout: BinaryIO) -> Opened:
    from flowcli.effects import Color, Warp
    from flowcli.pipeline import Background, Stopwatch

    color = Color(options.max_flow, options.legend) if output.what == "color" else None
    sink: Sink[FlowPair]
    if output.what == "flow":
        sink = _open_flow(output, info, options, stdout)
    else:
        sink = Mapped(color or Warp(options.holes), _open_pictures(output, info, options, color, stdout))
    if output.backward:
        sink = Mapped(FlowPair.reversed, sink)
    watch = Stopwatch()
    return Opened(output, Background(sink, watch=watch, begin=_one_thread), watch, color)


def _one_thread() -> None:
    """For the thread of an output: torch computes in it alone.

    A second team of OpenMP threads would fight with the network's for the cores: 5 instead of 20 frames per second,
    measured with colours of 384x256 on two cores.
    """
    import torch

    # Of this thread and those that start later; the one that runs the network has its number already.
    torch.set_num_threads(1)


def _open_flow(output: Output, info: StreamInfo, options: OutputOptions, stdout: BinaryIO) -> Sink[FlowPair]:
    if output.path is None:
        from flowcli.video import open_nut_sink

        return open_nut_sink(stdout, info)
    from flowcli.flowfile import open_flow_sink

    suffix = f".{output.format}"
    return open_flow_sink(output.path, folder=output.folder, suffix=suffix, tag=output.tag, overwrite=options.overwrite)


def _open_pictures(
    output: Output, info: StreamInfo, options: OutputOptions, color: Color | None, stdout: BinaryIO
) -> Sink[Frame]:
    from flowcli.video import open_picture_sink, open_video_sink, open_y4m_sink

    if output.path is None:
        return open_y4m_sink(stdout, info, fps=options.fps)
    if not output.video:
        suffix = f".{output.format}"
        return open_picture_sink(
            output.path, folder=output.folder, suffix=suffix, tag=output.tag, overwrite=options.overwrite
        )
    return open_video_sink(
        output.path,
        info,
        fps=options.fps,
        crf=options.crf,
        overwrite=options.overwrite,
        alpha=color is None and options.holes == "transparent",
        comment=None if color is None else lambda: scale_text(color),
    )


def scale_text(color: Color) -> str:
    """One line for people: the range of the colour scale over the video so far."""
    low, high = color.scale_range
    return (
        f"flow colours are full at {high:.4g} px"
        if low == high
        else f"flow colours are full at {low:.4g} to {high:.4g} px"
    )
