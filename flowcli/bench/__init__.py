"""Measurements of speed, compared with references measured in the same run."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from flowcli import __version__, models
from flowcli.bench import scene
from flowcli.engine.engine import Engine
from flowcli.ops import native
from flowcli.options import EngineOptions
from flowcli.run import open_engine
from flowcli.types import Precision
from flowcli.weights import entries


@dataclass(frozen=True)
class Setup:
    """What to measure, and for how long."""

    entry: entries.Entry
    engine: EngineOptions
    """Options with which `entry` was found, and with which it runs."""
    height: int = 436
    width: int = 1024
    seconds: float = 10.0
    """Time for each part; a few rounds are measured in any case."""
    frames: int = 40
    """Length of the pipeline's clip."""

    @property
    def network(self) -> str:
        return self.entry.network or self.entry.name

    def open_engine(self, precision: Precision | None = None, **others: Any) -> Engine:
        """The engine that `flowcli estimate` would use, with another precision or other options if given.

        Raises WeightsError, DeviceError.
        """
        options = replace(self.engine, precision=precision or self.engine.precision, **others)
        return open_engine(self.entry, options)

    def settled(self) -> Setup:
        """The same setup with a fixed batch: the one that the engine chooses for this size, if none is given."""
        if self.engine.batch is not None:
            return self
        engine = self.open_engine()
        if not engine.choose_batch(self.height, self.width):
            list(engine.pairs(scene.frames(self.height, self.width, 2)))
        return replace(self, engine=replace(self.engine, batch=engine.batch))


def random_weights(network: str, folder: Path) -> entries.Entry:
    """Random weights for a network, in a file in `folder`: its speed hardly depends on them."""
    from safetensors.torch import save_file

    file = folder / f"{network}-random.safetensors"
    save_file(models.find(network)().state_dict(), file, {"network": network})
    return entries.resolve(str(file))


def cores() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def facts(setup: Setup) -> dict[str, Any]:
    """The conditions of the measurements. Builds the native kernels if necessary."""
    engine = setup.open_engine()
    size = setup.width, setup.height
    return conditions(setup.entry, *size, batch=engine.batch, device=engine.device, precision=engine.precision)


def conditions(
    entry: entries.Entry, width: int, height: int, *, batch: int, device: torch.device, precision: str
) -> dict[str, Any]:
    """As `facts`, for a network that runs on the device without an engine."""
    cuda = device.type == "cuda"
    return {
        "model": entry.name,
        "sha256": entry.sha256,
        "width": width,
        "height": height,
        "batch": batch,
        "device": str(device),
        "processor": torch.cuda.get_device_name(device) if cuda else torch.backends.cpu.get_cpu_capability(),
        "precision": precision,
        "kernel": native.ensure(device.type).kernel,
        "cores": cores(),
        "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "versions": {"flowcli": __version__, "python": platform.python_version(), "torch": torch.__version__},
    }
