"""Optical flow from the command line, `flowcli estimate in.mp4 --out flow.mp4`, and from Python, `flowcli.estimate`."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flowcli.api import estimate as estimate
    from flowcli.arrays import flow as flow
    from flowcli.arrays import flow_to_rgb as flow_to_rgb
    from flowcli.carry.api import propagate as propagate
    from flowcli.engine.engine import Engine as Engine
    from flowcli.errors import FlowcliError as FlowcliError
    from flowcli.flowfile import read_flow as read_flow
    from flowcli.flowfile import write_flow as write_flow
    from flowcli.interpolation.api import interpolate as interpolate
    from flowcli.types import FlowField as FlowField
    from flowcli.types import FlowPair as FlowPair
    from flowcli.types import Frame as Frame

__version__ = "0.1.0"

_HOMES = {
    "Engine": "engine.engine",
    "FlowField": "types",
    "FlowPair": "types",
    "FlowcliError": "errors",
    "Frame": "types",
    "estimate": "api",
    "flow": "arrays",
    "flow_to_rgb": "arrays",
    "interpolate": "interpolation.api",
    "propagate": "carry.api",
    "read_flow": "flowfile",
    "write_flow": "flowfile",
}
"""Public names and their modules, imported when first used (PEP 562): `import flowcli` must not import torch."""


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
