"""Outputs from `--out` and `--as`: each pair of these names one output, or two if flow goes both ways."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from flowcli.errors import OutputError, UsageError
from flowcli.output.kinds import (
    ALONE,
    CONTAINERS,
    NEED_BOTH,
    ONE_WAY,
    STYLES,
    USE_BOTH,
    Content,
    check_holds,
    either,
    parse_kind,
    parse_pictures,
    suffix_of,
)
from flowcli.output.options import FrameOptions, OutputOptions
from flowcli.targets import check_distinct, check_package, check_target
from flowcli.types import Direction, FlowPair, Style

BACKWARD_TAG = "_bwd"


@dataclass(frozen=True)
class Output:
    """One output. `path` is None for stdout."""

    path: Path | None
    what: Content
    format: str
    folder: bool = False
    tag: str = ""
    """Added to the names of files in a folder."""
    backward: bool = False
    """Pairs with flow both ways are reversed for it, to show their backward flow."""
    stack: bool = False
    """One file holds all flows."""
    both: bool = False
    """It gets the flow both ways, if there is. Others do not, so that they do not depend on the outputs beside them."""
    beside: Style = "wheel"
    """The style beside the frame in side-by-side."""

    @property
    def needs_both(self) -> bool:
        """Whether it needs the flow both ways."""
        return self.what in NEED_BOTH

    @property
    def style(self) -> Style | None:
        """The style in which flow is drawn, None if it is no drawing of flow."""
        return "wheel" if self.what == "color" else next((style for style in STYLES if style == self.what), None)

    @property
    def drawn(self) -> Content:
        """The content, or what is drawn beside the frame."""
        return self.beside if self.what == "side-by-side" else self.what

    @property
    def pictures(self) -> bool:
        return self.what not in ("flow", "stats")

    @property
    def video(self) -> bool:
        return CONTAINERS[self.format].place == "video"

    @property
    def deep(self) -> bool:
        """Whether it keeps what the frames have beyond 8 bits: pictures of warped frames do."""
        return self.what == "warp" and CONTAINERS[self.format].deep and self.files

    @property
    def files(self) -> bool:
        """Whether each flow is a separate file, so that sizes may differ."""
        return CONTAINERS[self.format].place in ("files", "folder") and not self.stack

    def view(self, pair: FlowPair) -> FlowPair:
        """The pair as this output gets it."""
        if self.backward and pair.backward is not None:
            pair = pair.reversed()
        if self.both or pair.backward is None:
            return pair
        return replace(pair, backward=None, versus=pair.versus and replace(pair.versus, backward=None))

    def __str__(self) -> str:
        return "stdout" if self.path is None else f"{self.path}{'/' if self.folder else ''}"


def plan(options: OutputOptions, *, direction: Direction, pair: bool, source: Path | None = None) -> list[Output]:
    """The outputs that `options` name, checked as far as is possible before reading the input.

    pair: exactly one flow will come. source: the input if it is a file or a folder, which no output may replace.
    Raises UsageError for a contradiction, OutputError for a name that cannot be written.
    """
    return _free(name_outputs(options, direction=direction, pair=pair), options, source)


def plan_frames(
    options: FrameOptions, *, alpha: bool = False, one: bool = False, source: Path | None = None
) -> list[Output]:
    """The outputs of a command that writes frames, checked as by `plan`.

    alpha: the frames are RGBA. one: exactly one frame will come.
    """
    return _free(name_frames(options, alpha=alpha, one=one), options, source)


def name_frames(options: FrameOptions, *, alpha: bool = False, one: bool = False) -> list[Output]:
    """The outputs, as from `plan_frames`, without the check of their places."""
    named = _named(options, "add --out out.mp4, --out frames/ (a folder of .png files) or --out -")
    outputs = [_place(target, "frames", parse_pictures(word) if word else None, word, one) for target, word in named]
    for output in outputs:
        if CONTAINERS[output.format].place == "files" and not (output.folder or one):
            hint = f"give a folder: --out frames/ --as {output.format}"
            raise UsageError(f"one file cannot hold the frames of a sequence: {output}", hint)
        if alpha and not CONTAINERS[output.format].alpha:
            raise UsageError(f"{output.format} has no transparency: {output}", f"write {_with_alpha()}")
    check_distinct((each.path, each.tag + each.format if each.folder else "") for each in outputs)
    return outputs


def name_outputs(options: OutputOptions, *, direction: Direction, pair: bool = False) -> list[Output]:
    """The outputs, as from `plan`, without the check of their places."""
    named = _named(options, "add --out flow.mp4, --out flow/ (a folder of .flo files) or --out -")
    if options.percentile is not None and isinstance(options.max_flow, float):
        raise UsageError("--percentile and --max-flow contradict each other", "leave one out")
    outputs = [_output(target, word, options, pair) for target, word in named]
    drawing = {
        f"--style {options.style}": options.style is not None,
        "--legend": options.legend,
        f"--versus {''.join(options.methods[1:])}": bool(options.methods),
    }
    if not any(output.style for output in outputs):
        for option in (option for option, given in drawing.items() if given):
            raise UsageError(f"{option}, but nothing is drawn", "write a video, or a folder with --as png")
    for output in outputs:
        _check_kind(output, options, direction, pair)
    if direction == "both":
        outputs = [replace(each, both=True) for output in outputs for each in _both(output, options)]
    if direction == "backward":
        outputs = [replace(output, backward=True) for output in outputs]
    check_distinct((each.path, each.tag + each.format if each.folder else "") for each in outputs)
    return outputs


def flow_direction(outputs: Iterable[Output], direction: Direction, *, read: bool = False) -> Direction:
    """The direction of the flow that these outputs need: both if one of them gets the flow both ways.

    read: flow is read from files, not estimated; then both ways are required only for outputs that cannot do without.
    """
    return "both" if any(output.needs_both if read else output.both for output in outputs) else direction


def _named(options: FrameOptions, hint: str) -> list[tuple[str, str]]:
    """The targets and their kinds. Raises UsageError if there are none."""
    if not options.named:
        raise UsageError("no output is named", hint)
    return options.named


def _free(outputs: list[Output], options: FrameOptions, source: Path | None) -> list[Output]:
    """The same outputs. Raises OutputError if one cannot be written, or would replace the source."""
    for output in outputs:
        if output.path is not None:
            check_target(output.path, [source] if source else [], options.overwrite, output.folder)
    return outputs


def _output(target: str, word: str, options: OutputOptions, pair: bool) -> Output:
    what, form = parse_kind(word) if word else (None, None)
    output = _place(target, what, form, word, pair)
    content = options.style or output.what if output.what == "color" else output.what
    if content == "side-by-side" and options.style not in (None, "side-by-side"):
        output = replace(output, beside=options.style)
    output = replace(output, what=content)
    return replace(output, both=output.drawn in USE_BOTH)


def _place(target: str, what: Content | None, form: str | None, word: str, pair: bool) -> Output:
    """The output at `target`, with content and format from `word` if it names them."""
    if target == "-":
        form = form or ("nut" if what == "flow" else "y4m")
        if CONTAINERS[form].place != "stdout":
            raise UsageError(f"{form} cannot be written to stdout", "use --as y4m (pictures) or --as nut (flow)")
        return Output(None, what or CONTAINERS[form].whats[0], form)
    path = Path(target)
    folder = target.endswith("/") or os.path.isdir(path) or not path.suffix
    if folder:
        form = form or ALONE.get(what or "flow", "png")
        if CONTAINERS[form].place not in ("files", "folder"):
            raise UsageError(f"{form} is not written into a folder: {target}", _place_hint(form, path))
    else:
        form = _form(path, what, form, word)
    if what:
        check_holds(form, what, target)
    stack = CONTAINERS[form].stack and not folder and not pair
    return Output(path, what or CONTAINERS[form].whats[0], form, folder, stack=stack)


def _form(path: Path, what: Content | None, form: str | None, word: str) -> str:
    """The format of a file: `form` if it fits the suffix of the path. word: the `--as` that named it, for messages."""
    suffix = path.suffix.lower().replace(".jpeg", ".jpg").replace(".tiff", ".tif")
    files = {name: each for name, each in CONTAINERS.items() if each.place != "stdout" and not each.suffix}
    known = {f".{name}": name for name, each in files.items() if what != "frames" or each.pictures}
    if suffix not in known:
        hint = f"use {' '.join(known)}, or end a folder's name with /"
        raise OutputError(f"unknown suffix {path.suffix}: {path}", hint)
    if form and CONTAINERS[form].place == "folder":
        raise UsageError(f"{form} is several files: {path}", f"give a folder: --out {path.stem}/")
    if form and suffix_of(form) != suffix:
        raise UsageError(f"--as {word} contradicts the suffix of {path}", f"leave out {form}, or change the suffix")
    return form or known[suffix]


def _check_kind(output: Output, options: OutputOptions, direction: Direction, pair: bool) -> None:
    form = CONTAINERS[output.format]
    check_package(form.needs, "formats", output.format, str(output))
    if output.what == "rgb" and form.place == "files" and not output.folder:
        raise UsageError(f"one file cannot hold the frames: {output}", "give a folder: --out frames/ --as rgb")
    if form.place == "files" and not output.folder and not pair and not output.stack:
        kind = "" if output.format == "flo" else f" --as {output.what}.{output.format}"
        raise UsageError(f"one file cannot hold the flows of a sequence: {output}", f"give a folder: --out flow/{kind}")
    if output.what == "warp" and options.holes == "transparent" and not form.alpha:
        raise UsageError(
            f"{output.format} has no transparency for --holes transparent: {output}",
            f"write {_with_alpha()}, or use --holes black or keep",
        )
    if output.drawn in ("trails", "stats") and direction == "backward":
        raise UsageError(f"{output.drawn} go forward in time: {output}", "leave out --backward")
    if output.path is None and direction == "both" and output.drawn not in ONE_WAY:
        raise UsageError("--both makes two outputs, stdout takes one", "use --backward, or write to files")


def _both(output: Output, options: OutputOptions) -> list[Output]:
    """The outputs into which this one splits if flow goes both ways."""
    if output.drawn in ONE_WAY:
        return [output]
    if CONTAINERS[output.format].both and output.folder and options.exr != "stmap":
        return [output]
    return [output, _backward(output)]


def _backward(output: Output) -> Output:
    if output.folder or output.path is None:
        return replace(output, backward=True, tag=BACKWARD_TAG)
    return replace(output, backward=True, path=output.path.with_stem(output.path.stem + BACKWARD_TAG))


def _with_alpha() -> str:
    """The formats with transparency, for a hint."""
    return either([name for name, each in CONTAINERS.items() if each.alpha])


def _place_hint(form: str, path: Path) -> str:
    return "use --out -" if CONTAINERS[form].place == "stdout" else f"use --out {path.name or 'flow'}{suffix_of(form)}"
