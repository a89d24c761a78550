"""Weights of networks as others publish them: what each of their kinds is called, holds, and may be used for.

What others publish of a network stands in one file, `published/<network>.py` in the folder of its family, as FLAVOURS.
That file is not the network's own, because `flowcli models` lists what it says and must not wait for torch, which a
network needs to define its layers. So nothing in such a file, and nothing here, imports torch at its start.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from flowcli import models

if TYPE_CHECKING:
    from torch import Tensor

State = Mapping[str, "Tensor"]
Rule = tuple[str, str | Callable[[re.Match[str]], str]]
"""A pattern that a whole name matches, without `.weight` or `.bias`; and the new name, or a template with \\1, \\2."""

COUNTER = r"num_batches_tracked$"
"""Counts the steps of batch normalisation in training: missing in old files, and not used here."""


@dataclass(frozen=True)
class Download:
    """A file of weights that can be downloaded. `flowcli models fetch` takes its name."""

    name: str
    url: str
    trained: str
    """On which datasets."""
    parameters: int
    gmacs: float
    """10^9 multiply-adds of the convolutions for one pair of 1024x436; of frames with all that makes one of them."""
    epe: str = ""
    """Mean endpoint errors that the authors published, pixels; of frames what they measured of them."""
    measured: str = ""
    """Mean endpoint errors that this project measured, pixels, on the pairs of the README's table."""
    sha256: str = ""
    """What somebody stated of it: all of the hash, or its beginning."""
    file: str = ""
    """What the file is called, where its address does not say."""


@dataclass(frozen=True)
class Flavour:
    """One way in which weights of a network are published."""

    name: str
    """What the weights are called once they are imported."""
    title: str
    """What they are, in messages."""
    network: str
    rename: Callable[[State], dict[str, Tensor]]
    """Gives tensors the names that the network has here, and changes values where the other code computes otherwise."""
    licence: str
    source: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of the network."""
    downloads: tuple[Download, ...] = ()
    zeros: str = COUNTER
    """Pattern of the names that are zeros if all of them are missing."""
    file: str = ""
    """Pattern in the file's name, ignoring case, without which it is not of this flavour."""
    parts: Callable[[str], Sequence[str]] = lambda name: ()
    """The names of all files of a set, in order, given that of one of them; none where a file stands alone."""


def flavours() -> tuple[Flavour, ...]:
    """Every flavour that is known, sorted by what networks make, then by network, then as the network's file has them.

    Of two flavours that fit a file, the first one counts.
    """
    found: list[Flavour] = []
    for family, networks in models.families().items():
        for network in networks:
            module = f"{models.__name__}.{family}.published.{network}"
            if find_spec(module.rpartition(".")[0]) and find_spec(module):
                found += importlib.import_module(module).FLAVOURS
    return tuple(found)


def downloads() -> list[tuple[Flavour, Download]]:
    """Every file that can be downloaded, and its flavour."""
    return [(flavour, download) for flavour in flavours() for download in flavour.downloads]


def renamed(state: State, rules: Sequence[Rule]) -> dict[str, Tensor]:
    """The tensors under the names that the first matching rule gives; where none matches, a name no network has."""
    out: dict[str, Tensor] = {}
    for name, tensor in state.items():
        stem, _, kind = name.rpartition(".")
        matches = ((re.fullmatch(pattern, stem), new) for pattern, new in rules)
        names = (match.expand(new) if isinstance(new, str) else new(match) for match, new in matches if match)
        out[f"{next(names, f'no rule for {stem}')}.{kind}"] = tensor
    return out


def prefixed(state: State, prefix: str) -> dict[str, Tensor]:
    """The same tensors, with `prefix` before every name."""
    return {prefix + name: tensor for name, tensor in state.items()}


def scale(state: dict[str, Tensor], name: str, channels: slice, factor: float, dimension: int = 1) -> None:
    """Replaces the tensor `name`, if there is one, by a copy with these channels along `dimension` times `factor`."""
    if name in state:
        changed = state[name].clone()
        changed.movedim(dimension, 0)[channels] *= factor
        state[name] = changed
