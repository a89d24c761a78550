"""The networks: one file each, in a folder named after what they make.

The listings of the folders are the registry, so that names are known without importing torch.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flowcli.models.base import FlowModel, FrameModel, Network


def families() -> dict[str, list[str]]:
    """Names of all networks by family, sorted. A family is a folder here, named after what its networks make."""
    packages = sorted(module.name for module in pkgutil.iter_modules(__path__) if module.ispkg)
    return {family: _listed(importlib.import_module(f"{__name__}.{family}").__path__) for family in packages}


def _listed(folders: Iterable[str]) -> list[str]:
    modules = pkgutil.iter_modules(folders)
    return sorted(module.name for module in modules if not module.ispkg and not module.name.startswith("_"))


def names() -> list[str]:
    """Names of the networks that estimate flow, sorted."""
    return families()["flow"]


def frame_names() -> list[str]:
    """Names of the networks that make frames, sorted."""
    return families()["frame"]


def find(name: str) -> type[Network]:
    """The class of a network of any family. Raises ValueError for an unknown name."""
    known = families()
    family = next((family for family, networks in known.items() if name in networks), None)
    if family is None:
        there = ", ".join(network for networks in known.values() for network in networks)
        raise ValueError(f"unknown network {name!r}; there are: {there}")
    network: type[Network] = importlib.import_module(f"{__name__}.{family}.{name}").MODEL
    return network


def create(name: str, **settings: Any) -> FlowModel:
    """A network that estimates flow, with fresh weights. Raises ValueError for an unknown name."""
    model: FlowModel = _created(name, names(), settings)
    return model


def create_frame(name: str, **settings: Any) -> FrameModel:
    """A network that makes frames, with fresh weights. Raises ValueError for an unknown name."""
    model: FrameModel = _created(name, frame_names(), settings)
    return model


def _created(name: str, known: list[str], settings: dict[str, Any]) -> Any:
    if name not in known:
        raise ValueError(f"unknown network {name!r}; there are: {', '.join(known)}")
    kind: Any = find(name)
    return kind(**settings)
