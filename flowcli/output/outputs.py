"""What `--out` and `--as` mean: each pair of them becomes an output, an effect and the sink behind it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Generic, TypeVar

from flowcli.errors import OutputError, UsageError
from flowcli.output.kinds import COMPARE, FORMATS, STYLES, What, check_holds, either, parse_kind, suffix_of
from flowcli.targets import check_distinct, check_package, check_target, pair_kinds
from flowcli.types import Direction, FlowPair, Frame, Holes, Layout, Sink, StreamInfo, Style

if TYPE_CHECKING:
    from flowcli.draw.effects import Color
    from flowcli.pipeline import Stopwatch

BACKWARD_TAG = "_bwd"

Product = TypeVar("Product")


@dataclass(frozen=True)
class OutputOptions:
    """What the user asked for; `kinds` is empty or as long as `targets`."""

    targets: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    max_flow: float | None = None
    """Magnitude in pixels at which colours are full; None follows the video."""
    legend: bool = False
    holes: Holes = "black"
    fps: Fraction | None = None
    crf: int | None = None
    overwrite: bool = False
    bound: float | None = None
    """Pixels at which flow is clipped, where a format has to; None for the usual ones."""
    exr: Layout = "nuke"
    occlusion: tuple[str, ...] = ()
    """Targets of that kind, besides those above; `confidence` likewise."""
    confidence: tuple[str, ...] = ()
    style: Style | None = None
    """How `color` is drawn; None for the wheel."""
    percentile: float | None = None
    """Of the speeds, in percent: where colours are full if the scale follows the video; None for the usual one."""
    dim: float = 0.4
    """How much darker and greyer frames are below what is drawn on them, 0 to 1."""

    @property
    def named(self) -> list[tuple[str, str]]:
        """Each target, and the kind that is named for it or "". Raises UsageError for kinds that do not match."""
        masks = {"occlusion": self.occlusion, "confidence": self.confidence}
        return [
            *pair_kinds(self.targets, self.kinds),
            *((target, kind) for kind, targets in masks.items() for target in targets),
        ]


@dataclass(frozen=True)
class Output:
    """One place to write to. `path` is None for stdout."""

    path: Path | None
    what: What
    format: str
    folder: bool = False
    backward: bool = False
    """Holds the backward flow of a pair that has both."""
    stack: bool = False
    """One file of the `files` for all flows."""
    both: bool = False
    """Is shown the flow both ways, if there is; others are not, so that they are the same whatever is beside them."""

    @property
    def tag(self) -> str:
        """Added to the names of files in a folder."""
        return BACKWARD_TAG if self.backward and self.folder else ""

    @property
    def style(self) -> Style | None:
        """How the flow is drawn; None for what is no drawing of it."""
        return "wheel" if self.what == "color" else next((style for style in STYLES if style == self.what), None)

    @property
    def video(self) -> bool:
        return FORMATS[self.format].place == "video"

    @property
    def files(self) -> bool:
        """Whether each flow gets a file of its own, and may have a size of its own."""
        return FORMATS[self.format].place in ("files", "folder") and not self.stack

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
    sink: Sink[FlowPair]
    watch: Stopwatch
    """Counts the time that drawing and writing took."""
    color: Color | None
    """What draws it and knows its scale; None where the output has none."""


def plan(options: OutputOptions, *, direction: Direction, pair: bool, source: Path | None = None) -> list[Output]:
    """The outputs that `options` name, checked as far as that is possible without the input.

    pair: exactly one flow will come. source: the input if it is a file or a folder, which no output may replace.
    Raises UsageError for a contradiction, OutputError for a name that cannot be written.
    """
    outputs = name_outputs(options, direction=direction, pair=pair)
    for output in outputs:
        if output.path is not None:
            check_target(output.path, [source] if source else [], options.overwrite, output.folder)
    return outputs


def name_outputs(options: OutputOptions, *, direction: Direction, pair: bool = False) -> list[Output]:
    """As `plan`, whatever is at their places already."""
    named = options.named
    if not named:
        raise UsageError("no output is named", "add --out flow.mp4, --out flow/ (a folder of .flo files) or --out -")
    if options.percentile is not None and options.max_flow is not None:
        raise UsageError("--percentile and --max-flow contradict each other", "leave one out")
    outputs = [_output(target, word, options, pair) for target, word in named]
    if options.style and not any(output.style for output in outputs):
        raise UsageError(f"--style {options.style}, but nothing is drawn", "write a video, or a folder with --as png")
    for output in outputs:
        _check_kind(output, options, direction, pair)
    if direction == "both":
        outputs = [replace(each, both=True) for output in outputs for each in _both(output, options)]
    check_distinct((each.path, each.tag + each.format if each.folder else "") for each in outputs)
    return outputs


def _output(target: str, word: str, options: OutputOptions, pair: bool) -> Output:
    output = _place(target, word, pair)
    what = options.style or output.what if output.what == "color" else output.what
    return replace(output, what=what, both=what in COMPARE or what == "trails")


def _place(target: str, word: str, pair: bool) -> Output:
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
        if FORMATS[form].place not in ("files", "folder"):
            raise UsageError(f"{form} is not written into a folder: {target}", _place_hint(form, path))
    else:
        form = _form(path, form, word)
    if what:
        check_holds(form, what, target)
    stack = FORMATS[form].stack and not folder and not pair
    return Output(path, what or FORMATS[form].whats[0], form, folder, stack=stack)


def _form(path: Path, form: str | None, word: str) -> str:
    """The format of a file, `form` if its suffix is that of the path. word: the --as that named it."""
    suffix = path.suffix.lower().replace(".jpeg", ".jpg")
    known = {f".{name}": name for name, each in FORMATS.items() if each.place != "stdout" and not each.suffix}
    if suffix not in known:
        hint = f"use {' '.join(known)}, or end a folder's name with /"
        raise OutputError(f"unknown suffix {path.suffix}: {path}", hint)
    if form and FORMATS[form].place == "folder":
        raise UsageError(f"{form} is several files: {path}", f"give a folder: --out {path.stem}/")
    if form and suffix_of(form) != suffix:
        raise UsageError(f"--as {word} contradicts the suffix of {path}", f"leave out {form}, or change the suffix")
    return form or known[suffix]


def _check_kind(output: Output, options: OutputOptions, direction: Direction, pair: bool) -> None:
    form = FORMATS[output.format]
    check_package(form.needs, "formats", output.format, str(output))
    if form.place == "files" and not output.folder and not pair and not output.stack:
        kind = "" if output.format == "flo" else f" --as {output.what}.{output.format}"
        raise UsageError(f"one file cannot hold the flows of a sequence: {output}", f"give a folder: --out flow/{kind}")
    if output.what == "warp" and options.holes == "transparent" and not form.alpha:
        raise UsageError(
            f"{output.format} has no transparency for --holes transparent: {output}",
            f"write {either([name for name, each in FORMATS.items() if each.alpha])}, or use --holes black or keep",
        )
    if output.what == "trails" and direction == "backward":
        raise UsageError(f"trails go forward in time: {output}", "leave out --backward")
    if output.path is None and direction == "both" and output.what != "trails":
        raise UsageError("--both makes two outputs, stdout takes one", "use --backward, or write to files")


def _both(output: Output, options: OutputOptions) -> list[Output]:
    """The outputs for the flow both ways."""
    if output.what == "trails":
        return [output]
    if FORMATS[output.format].both and output.folder and options.exr != "stmap":
        return [output]
    return [output, _backward(output)]


def _backward(output: Output) -> Output:
    if output.folder or output.path is None:
        return replace(output, backward=True)
    return replace(output, backward=True, path=output.path.with_stem(output.path.stem + BACKWARD_TAG))


def _place_hint(form: str, path: Path) -> str:
    return "use --out -" if FORMATS[form].place == "stdout" else f"use --out {path.name or 'flow'}{suffix_of(form)}"


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
    from flowcli.draw.effects import Color, Warp, confidence, occlusion
    from flowcli.engine.batches import MOST
    from flowcli.engine.cuda import Received, hand_over
    from flowcli.pipeline import Background, Stopwatch, use_threads

    color = None
    if output.style:
        percentile = options.percentile or Color.percentile
        color = Color(options.max_flow, options.legend, output.style, percentile=percentile, dim=options.dim)
    sink: Sink[FlowPair]
    if output.what == "flow":
        sink = _open_flow(output, info, options, stdout)
    else:
        masks = {"occlusion": occlusion, "confidence": confidence}
        effect = color or masks.get(output.what) or Warp(options.holes)
        sink = Mapped(effect, _open_pictures(output, info, options, color, stdout))
    if output.backward:
        sink = Mapped(FlowPair.reversed, sink)
    if not output.both:
        sink = Mapped(lambda pair: replace(pair, backward=None), sink)
    watch = Stopwatch()
    # A second team of OpenMP threads would fight with the network's for the cores: 5 instead of 20 frames per second,
    # measured with colours of 384x256 on two cores.
    # As deep as a step may be wide: the next one can begin before the flows of this one are drawn.
    thread = Background(Received(sink), MOST, watch, partial(use_threads, 1))
    return Opened(output, Mapped(hand_over, thread), watch, color)


def _open_flow(output: Output, info: StreamInfo, options: OutputOptions, stdout: BinaryIO) -> Sink[FlowPair]:
    if output.path is None:
        from flowcli.video import open_nut_sink

        return open_nut_sink(stdout, info)
    from flowcli.flowfile import open_exr_sink, open_flow_sink, open_stack_sink
    from flowcli.packing import TSN_BOUND
    from flowcli.video import open_flow_video_sink

    path, bound, overwrite = output.path, options.bound, options.overwrite
    if output.video:
        return open_flow_video_sink(path, info, bound=bound, fps=options.fps, overwrite=overwrite)
    if output.format == "i3d" or output.stack:
        return open_stack_sink(
            path, overwrite=overwrite, bound=(bound or TSN_BOUND) if output.format == "i3d" else None
        )
    if output.format == "exr":
        return open_exr_sink(path, folder=output.folder, layout=options.exr, tag=output.tag, overwrite=overwrite)
    return open_flow_sink(
        path,
        folder=output.folder,
        suffix=suffix_of(output.format),
        tag=output.tag,
        overwrite=overwrite,
        bound=bound,
    )


def _open_pictures(
    output: Output, info: StreamInfo, options: OutputOptions, color: Color | None, stdout: BinaryIO
) -> Sink[Frame]:
    from flowcli.video import open_picture_sink, open_video_sink, open_y4m_sink

    if output.what == "side-by-side":
        info = replace(info, width=2 * info.width)
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
        alpha=output.what == "warp" and options.holes == "transparent",
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
