"""`flowcli.propagate`: the command of that name for arrays, from Python."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping
from fractions import Fraction
from os import PathLike
from typing import TYPE_CHECKING

from flowcli.api import open_given, reported
from flowcli.carry.run import CarryOptions, Sides, open_arrays
from flowcli.engine.schedule import AHEAD
from flowcli.options import EngineOptions
from flowcli.run import find_weights
from flowcli.types import Frame, Precision, Progress

if TYPE_CHECKING:
    import numpy as np
    import torch

    from flowcli.carry.stream import Carried


def propagate(
    source: str | PathLike[str] | Iterable[Frame],
    keys: Mapping[int, np.ndarray] | Callable[[Frame], np.ndarray | None],
    *,
    sides: Sides = "auto",
    ahead: int = AHEAD,
    check: bool = False,
    model: str = "rpwc",
    device: str = "auto",
    precision: Precision = "auto",
    max_side: int | None = None,
    start: int | Fraction | None = None,
    stop: int | Fraction | None = None,
    every: int = 1,
    progress: Progress | None = None,
) -> Generator[Carried[torch.Tensor]]:
    """Each frame with what is known of it, carried along the flow from key frames, in constant memory.

    source: a video file, a folder or pattern of pictures, "-" for stdin, or frames. keys: what is known of key frames,
    by their index; or a function that tells it, called once for each frame, in order, such as a network that is too
    slow for every frame. Whole numbers (H, W) are labels, 0 to 65535; floats (H, W) a matte, 0 to 1; floats (C, h, w)
    tensors at any stride. Values come out as torch tensors: int32 (H, W), float32 (1, H, W), float32 (C, h, w).
    sides: key frames that values come from, "before" a frame, "after" it, "both", or "auto": before if only the first
    frame is one, else both. ahead: frames that wait for the key frame after them, and are held meanwhile. check:
    estimates flow both ways where one would do. progress: called before each frame is handed out, with their number so
    far and that of all, None if unknown. The rest is as for `estimate`.
    Raises FlowcliError: InputError for arrays that do not fit their frame, and what `estimate` raises.
    """
    from flowcli.carry.stream import Carried
    from flowcli.carry.tensors import Known, as_known

    def key(frame: Frame, device: torch.device) -> Known | None:
        array = keys(frame) if callable(keys) else keys.get(frame.index)
        return None if array is None else as_known({"": array}, frame, device)

    engine = EngineOptions(model, device=device, precision=precision, max_side=max_side)
    options = CarryOptions(keys=sides, ahead=ahead, check=check)
    single = not callable(keys) and len(keys) == 1
    with (
        open_given(source, start=start, stop=stop, every=every) as given,
        open_arrays(given.frames, given.name, find_weights(engine), engine, options, key, single) as run,
    ):
        for each in reported(run.frames, progress, given.count):
            value = None if each.value is None else each.value.arrays()[""]
            yield Carried(each.frame, value, each.confidence, each.key)
