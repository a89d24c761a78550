"""Checkpoints of training: a run goes on from them, with the options that it began with."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from flowcli.atomic import Part
from flowcli.errors import InputError
from flowcli.train.options import FrameTrainOptions, TrainOptions
from flowcli.weights.unpickling import unpickle


def write_checkpoint(path: Path, options: TrainOptions | FrameTrainOptions, state: dict[str, Any]) -> None:
    """Writes the state of a run with these options, in place of the one before."""
    with Part(path, overwrite=True) as part:
        torch.save({"options": asdict(options), **state}, part.path)


def read_checkpoint(path: Path, options: TrainOptions | FrameTrainOptions) -> dict[str, Any] | None:
    """The state of the run, None if there is no checkpoint.

    Raises InputError if the run has other options, WeightsError if the checkpoint is damaged.
    """
    if not path.exists():
        return None
    state: dict[str, Any] = unpickle(path, "checkpoint", "train in another folder, or remove it")
    # A run that began before an option was there took what is now its default.
    begun = asdict(type(options)()) | state["options"]
    changed = sorted(name for name, value in asdict(options).items() if begun[name] != value)
    if changed:
        raise InputError(
            f"the run in {path.parent} has other options: {', '.join(changed)}",
            "train in another folder, or with the same",
        )
    return state
