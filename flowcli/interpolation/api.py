"""`flowcli.interpolate`: the command of that name from Python."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sized
from fractions import Fraction
from os import PathLike

from flowcli.api import open_given, reported
from flowcli.interpolation.options import Duplicates, InterpolationOptions
from flowcli.interpolation.run import find_method, mark_frames, open_method
from flowcli.options import EngineOptions
from flowcli.types import Frame, Precision, Progress


def interpolate(
    source: str | PathLike[str] | Iterable[Frame],
    times: Iterable[Fraction] | None,
    second: str | PathLike[str] | None = None,
    *,
    model: str = InterpolationOptions.method,
    size: tuple[int, int] | None = None,
    shutter: Fraction | None = None,
    duplicates: Duplicates = "keep",
    deep: bool = False,
    flow: str = EngineOptions.model,
    device: str = "auto",
    precision: Precision = "auto",
    max_side: int | None = None,
    tile: int | None = None,
    batch: int | None = None,
    progress: Progress | None = None,
) -> Generator[Frame]:
    """A frame for each of `times`, numbered from 0, one at a time and in constant memory.

    source, second: as for `estimate`. times: seconds on the clock of the frames, none before the one ahead of it, as
    many as wanted; None for those of the frames themselves. At the time of a frame that frame comes out. Nothing is
    mixed across a cut, whether it is marked or found: there, before the first frame and after the last one, the
    nearest frame is repeated.
    model: "splat" moves both frames along the flow between them, "blend" mixes them, "nearest" repeats the nearer one;
    "videoinr", or a file of its weights, is a network, which also makes the frames of another size.
    size: height and width of the result, None for that of the frames.
    shutter: share of the time between two frames for which one is exposed, 0 to 1, for motion blur; None for none.
    duplicates: "skip" leaves out frames that repeat the one before, so that motion is even where animation holds each
    drawing for several frames.
    deep: frames are uint16 where the source has more than 8 bits; frames that are given stay what they are.
    flow: the model that estimates the flow; device to batch: as for `estimate`.
    progress: called before each frame is handed out, with their number so far and that of `times`, None if unknown.
    Raises FlowcliError as `estimate` does, and ValueError for times that go back.
    """
    from flowcli.interpolation.making import make_frames
    from flowcli.pipeline import prefetch

    options = EngineOptions(flow, None, device, precision, max_side, tile=tile, batch=batch)
    method = find_method(model, options)
    with (
        open_given(source, second, deep=deep) as given,
        prefetch(given.frames if second is not None else mark_frames(given.frames, duplicates)) as ahead,
    ):
        tools = open_method(method, options)
        made = make_frames(ahead, times, tools.synthesiser, tools.engine, size=size, shutter=shutter)
        total = given.count if times is None else len(times) if isinstance(times, Sized) else None
        yield from reported(made, progress, total)
