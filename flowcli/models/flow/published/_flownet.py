"""What FlowNetS and FlowNetC have in common, as FlowNetPytorch and MMFlow publish them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from flowcli.models.flavours import Download, Flavour, State, prefixed
from flowcli.models.flow.published import _mmflow

if TYPE_CHECKING:
    from torch import Tensor

PINARD = "https://github.com/ClementPinard/FlowNetPytorch/raw/ee928f1ac142e09ec77bc78e67f8ff70f41105f9/weights"


def remap(state: State) -> dict[str, Tensor]:
    """FlowNetPytorch's weights under the names here."""
    return prefixed(state, "net.")


def pinard(
    name: str, title: str, network: str, download: Download, settings: Mapping[str, Any] | None = None, file: str = ""
) -> Flavour:
    """The flavour of weights that FlowNetPytorch publishes."""
    licence, source = "MIT (FlowNetPytorch)", "github.com/ClementPinard/FlowNetPytorch"
    return Flavour(name, title, network, remap, licence, source, settings or {}, (download,), file=file)


def mmflow(name: str, title: str, download: Download) -> Flavour:
    """The flavour of weights of the network `name` that MMFlow publishes."""

    def rename(state: State) -> dict[str, Tensor]:
        return prefixed(_mmflow.flownet(state), "net.")

    return _mmflow.mmflow(name, title, name, rename, download, order="bgr", mean=(0.0, 0.0, 0.0), bias=True)
