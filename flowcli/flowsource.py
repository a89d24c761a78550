"""Pairs from flow that exists already: files in every format, arrays, and videos of flow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import chain, zip_longest
from pathlib import Path

import numpy as np

from flowcli.errors import InputError
from flowcli.flowfile import FORMATS, Flow, Motion, Stack, holds_motion, open_stack, read_motion
from flowcli.flowfile.base import known
from flowcli.inputs import STDIN, find_input
from flowcli.packing import TSN_BOUND, from_i3d
from flowcli.sequences import count_frames, shifted
from flowcli.types import Closes, Direction, FlowField, FlowKind, FlowPair, Frame, StreamInfo
from flowcli.video import FlowVideo

_RATE = Fraction(25)
_VIDEOS = (STDIN, ".mkv", ".nut")
_BACKWARD = "_bwd"
_X, _Y = "flow_x_", "flow_y_"
_KNOWN = f"flow is read from {' '.join(FORMATS)} .mkv .nut; flowcli estimate finds it in other videos and pictures"
_AGAIN = "make both anew"


def open_flow_source(
    inputs: Sequence[str], *, direction: Direction = "forward", bound: float | None = None, kind: FlowKind | None = None
) -> FlowSource:
    """The flows in files, in folders and patterns of files, in a video (.mkv, .nut), or in NUT on stdin ("-").

    direction: of the files X and X_bwd, "forward" reads X, "backward" reads X_bwd, and "both" reads both; if only one
    of them is there, it is taken for what is asked for. An .exr can hold both directions.
    bound: speed, in pixels, at which the files clip flow, 20 if None. kind: what an .npy (N, H, W, 2) holds.
    Raises InputError, at once or from the iterator.
    """
    paths = list(dict.fromkeys(chain.from_iterable(map(_find, inputs))))
    kinds = sorted(set(map(_kind, paths)))
    if len(kinds) > 1:
        raise InputError(f"several kinds of flow: {' '.join(kinds)}", "give one kind at a time, as 'folder/*.flo'")
    groups = _grouped(paths)
    if kinds[0] != ".exr":
        groups = _chosen(groups, direction)
    if kind and kinds[0] != ".npy":
        raise InputError(f"--from {kind} is for .npy, not for {kinds[0]}", f"leave out --from {kind}")
    if kinds[0] in _VIDEOS and len(groups) > 1:
        raise InputError(f"{len(groups)} videos of flow", "give one at a time")
    return FlowSource(groups, kinds[0], direction, bound or TSN_BOUND, kind)


@dataclass(frozen=True)
class _Group:
    """The files of one pair, or of one frame (.exr)."""

    stem: str
    forward: Path | None = None
    backward: Path | None = None


@dataclass(frozen=True, eq=False)
class _TimedFlow:
    """A flow, and its time if the file states one."""

    flow: Flow
    time: Fraction | None = None


@dataclass(frozen=True, eq=False)
class _Step:
    """The flows of one pair; at least one of them is there."""

    index: int
    stem: str | None
    forward: Flow | None
    backward: Flow | None
    time: Fraction | None = None


class FlowSource(Closes):
    """The stored flows as pairs of black frames, in order; one pair at a time is in memory. A context manager.

    `info` has the size of the first flow; its `frames` is the number of flows, if it is known.
    """

    def __init__(
        self, groups: Sequence[_Group], suffix: str, direction: Direction, bound: float, kind: FlowKind | None
    ) -> None:
        self._groups = groups
        self._suffix = suffix
        self._direction = direction
        self._bound = bound
        self._kind = kind
        self._indices, self._every = count_frames([group.stem for group in groups])
        self._videos: dict[Path, FlowVideo] = {}
        self._opened = ExitStack()
        try:
            info = self._open_videos()
            self.named = named = suffix not in (".jpg", *_VIDEOS) and (len(groups) > 1 or info.frames == 1)
            """Whether flows have the names of their frames."""
            steps = self._motion_steps() if suffix == ".exr" else self._flow_steps(named)
            first = next(steps, None)
            if first is None:
                what = "flow both ways" if direction == "both" else f"{direction} flow"
                hint = "--backward, --both or neither takes what is there"
                raise InputError(f"no {what} in {groups[0].stem}{suffix}", hint)
        except BaseException:
            self.close()
            raise
        self._steps = chain((first,), steps)
        flow = first.forward or first.backward
        assert flow is not None
        height, width = flow[0].shape[1:]
        self.info = replace(info, height=height, width=width)
        self.single = suffix in FORMATS and info.frames == 1
        """Whether the input is one flow in a file of its own."""

    def __iter__(self) -> Iterator[FlowPair]:
        begins = False
        for step in self._steps:
            pair = self._pair(step, begins)
            yield pair
            # So cuts are stored.
            begins = pair.forward.valid is not None and not pair.forward.valid.any()

    def close(self) -> None:
        self._opened.close()

    def _open_videos(self) -> StreamInfo:
        """What is known before the first flow is read, without the size."""
        group = self._groups[0]
        paths = [path for path in (group.forward, group.backward) if path is not None]
        if self._suffix in _VIDEOS:
            self._videos = {path: self._opened.enter_context(FlowVideo(str(path))) for path in paths}
            return self._videos[paths[0]].info
        stack = self._suffix == ".npy" and len(self._groups) == 1
        return StreamInfo(0, 0, _RATE, len(open_stack(paths[0])) if stack else len(self._groups))

    def _flow_steps(self, named: bool) -> Iterator[_Step]:
        for index, group in zip(self._indices, self._groups, strict=True):
            paths = [path for path in (group.forward, group.backward) if path is not None]
            for number, found in enumerate(zip_longest(*map(self._flows, paths))):
                if None in found:
                    raise InputError(f"different numbers of flows: {paths[0]} {paths[1]}", _AGAIN)
                forward = found[0].flow if group.forward else None
                backward = found[-1].flow if group.backward else None
                stem = group.stem if named else None
                yield _Step(index + number, stem, forward, backward, found[0].time)

    def _flows(self, path: Path) -> Iterator[_TimedFlow]:
        if path in self._videos:
            for stored in self._videos[path]:
                yield _TimedFlow(known(stored.uv, stored.valid), stored.time)
        elif self._suffix == ".npy" and (len(self._groups) == 1 or self._kind == "i3d"):
            stack = open_stack(path)
            i3d = _is_i3d(stack, self._kind)
            for values in stack:
                yield _TimedFlow(known(from_i3d(values, self._bound) if i3d else values))
        else:
            yield _TimedFlow(FORMATS[self._suffix].bind(self._bound).read(path))

    def _motion_steps(self) -> Iterator[_Step]:
        """The pairs in .exr files, which belong to frames: a pair's backward flow is in the file of its later frame."""
        before: _Step | None = None
        for index, group in zip(self._indices, self._groups, strict=True):
            motion = _motion(group)
            if self._direction == "both":
                if before and before.forward and motion.backward and before.index + 1 == index:
                    yield replace(before, backward=motion.backward)
                before = _Step(index, group.stem, motion.forward, None)
            elif self._direction == "forward" and motion.forward:
                yield _Step(index, group.stem, motion.forward, None)
            elif self._direction == "backward" and motion.backward:
                yield _Step(index, shifted(group.stem, -self._every), None, motion.backward)

    def _pair(self, step: _Step, begins: bool) -> FlowPair:
        """The pair of a step. begins: whether a shot does, since all flow before it is unknown."""
        flow = step.forward or step.backward
        assert flow is not None
        time = step.index / self.info.rate if step.time is None else step.time
        image = np.broadcast_to(np.uint8(0), (*flow[0].shape[1:], 3))
        earlier = Frame(image, step.index, time, step.stem, cut=begins)
        later = Frame(image, step.index + 1, time + 1 / self.info.rate, step.stem and shifted(step.stem, self._every))
        if step.forward is None:
            return FlowPair(later, earlier, _field(flow), at=earlier)
        return FlowPair(earlier, later, _field(flow), step.backward and _field(step.backward), at=earlier)


def is_flow(text: str) -> bool:
    """Whether the input holds flow, and not a video or pictures.

    Files that pictures may have too (.png, .jpg) are flow only if they are called flow_x_*.jpg, and an .exr if it says
    so, of which the first is asked. Raises InputError if there is no such input.
    """
    given = find_input(text)
    if given.form == "stdin":
        return False
    files = given.files((*FORMATS, *_VIDEOS))
    if len(files) == 1 and _kind(files[0]) == ".mkv":
        return _is_flow_video(files[0])
    ours = {*FORMATS, ".nut"} - {".png", ".jpg", ".exr"}
    if any(_kind(path) in ours or path.name.startswith(_X) for path in files):
        return True
    return next((holds_motion(path) for path in files if _kind(path) == ".exr"), False)


def same_size(pairs: Iterable[FlowPair], info: StreamInfo) -> Iterator[FlowPair]:
    """The same pairs. Raises InputError at one whose size is not that in `info`."""
    for pair in pairs:
        height, width = pair.forward.uv.shape[1:]
        if (height, width) != (info.height, info.width):
            raise InputError(
                f"flow {pair.at.stem} is {width}x{height}, the first one {info.width}x{info.height}",
                "write a folder of files: they may have sizes of their own",
            )
        yield pair


def _is_flow_video(path: Path) -> bool:
    try:
        with FlowVideo(str(path)):
            return True
    except InputError:
        return False


def _find(text: str) -> list[Path]:
    """The files that an input names, in order."""
    given = find_input(text)
    if given.form == "stdin":
        return [Path(text)]
    files = [path for path in given.files(FORMATS) if not path.name.startswith(_Y)]
    if given.form == "folder":
        files = _flow_alone(files)
    if not files:
        raise InputError(f"no files of flow: {text}", _KNOWN)
    for path in files:
        if _kind(path) not in FORMATS and _kind(path) not in _VIDEOS:
            raise InputError(f"not a file of flow: {path}", _KNOWN)
    return files


def _flow_alone(files: Sequence[Path]) -> list[Path]:
    """The files of a folder without the pictures among them that are no flow."""
    files = [path for path in files if _kind(path) != ".jpg" or path.name.startswith(_X)]
    # Beside flow of another kind, pictures are more likely to be colours.
    if {".png"} < set(map(_kind, files)):
        files = [path for path in files if _kind(path) != ".png"]
    return files


def _kind(path: Path) -> str:
    return path.suffix.lower() or str(path)


def _grouped(paths: Sequence[Path]) -> list[_Group]:
    groups: dict[Path, _Group] = {}
    for path in paths:
        stem = path.stem.removesuffix(_BACKWARD)
        key = path.with_stem(stem)
        group = groups.get(key, _Group(stem))
        groups[key] = replace(group, backward=path) if path.stem != stem else replace(group, forward=path)
    return list(groups.values())


def _chosen(groups: Sequence[_Group], direction: Direction) -> list[_Group]:
    """The groups with the one file that `direction` reads."""
    if direction == "both":
        return list(map(_completed, groups))
    forward = [group.forward for group in groups if group.forward]
    backward = [group.backward for group in groups if group.backward]
    if direction == "forward":
        return [_Group(path.stem.removesuffix(_BACKWARD), path) for path in forward or backward]
    return [_Group(path.stem.removesuffix(_BACKWARD), None, path) for path in backward or forward]


def _completed(group: _Group) -> _Group:
    """The group with the files of both directions. Raises InputError if one is missing."""
    path = group.forward or group.backward
    assert path is not None
    forward, backward = path.with_stem(group.stem), path.with_stem(group.stem + _BACKWARD)
    for each in (forward, backward):
        if not each.is_file():
            raise InputError(f"no such file: {each}, for the flow both ways", "masks and --both need it")
    return _Group(group.stem, forward, backward)


def _motion(group: _Group) -> Motion:
    motion = read_motion(group.forward) if group.forward else Motion(None, None)
    if group.backward is None:
        return motion
    other = read_motion(group.backward)
    return Motion(motion.forward, other.backward or other.forward)


def _is_i3d(stack: Stack, kind: FlowKind | None) -> bool:
    """Whether these are clipped and scaled flows. Raises InputError if their shape may be either and `kind` is None."""
    between = stack.counted and stack.shape[1] != 2
    if kind is None and between:
        raise InputError(
            f"flow in pixels, or I3D's: {stack.path} has the shape {stack.shape}, as both have",
            "say it: flowcli convert FILE --from i3d, or --from pixels",
        )
    if kind == "i3d" and not between:
        raise InputError(f"not I3D's flow (N, H, W, 2): {stack.path} has {stack.shape}", "leave out --from i3d")
    return kind == "i3d"


def _field(flow: Flow) -> FlowField:
    import torch

    uv, valid = flow
    return FlowField(torch.from_numpy(uv), None if valid is None else torch.from_numpy(valid))
