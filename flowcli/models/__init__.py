"""The networks: a file each, in a folder by what they make; the listing is the registry, known without torch."""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING, Any

from flowcli.models import flow

if TYPE_CHECKING:
    from flowcli.models.base import FlowModel


def names() -> list[str]:
    """Names of the networks, sorted."""
    return sorted(module.name for module in pkgutil.iter_modules(flow.__path__) if not module.name.startswith("_"))


def create(name: str, **settings: Any) -> FlowModel:
    """A network with fresh weights. Raises ValueError for an unknown name."""
    if name not in names():
        raise ValueError(f"unknown network {name!r}; there are: {', '.join(names())}")
    model: FlowModel = importlib.import_module(f"{flow.__name__}.{name}").MODEL(**settings)
    return model
