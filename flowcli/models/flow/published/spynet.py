"""SpyNet's weights as its authors and pytorch-spynet publish them.

Source: anuragranj/spynet, spynet.lua; sniklaus/pytorch-spynet.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from flowcli.models.flavours import Download, Flavour, State, renamed

if TYPE_CHECKING:
    from torch import Tensor

LICENCE = "non-commercial research only"
AUTHORS = "github.com/anuragranj/spynet"
PORT = "http://content.sniklaus.com/github/pytorch-spynet"
SIZE = 1440300, 146.7
"""Parameters, and 10^9 multiply-adds."""


def remap(state: State) -> dict[str, Tensor]:
    """The weights of pytorch-spynet under the names here, from its old names (module...) and new ones (net...)."""
    return {
        name.replace("module", "net").replace("netBasic.", "basic.", 1).replace("netBasic.", "", 1): value
        for name, value in state.items()
    }


def from_torch7(state: State) -> dict[str, Tensor]:
    """The authors' weights, "<level>.<layer>.weight" and so on with levels from 1, under the names here."""
    wide = {name: tensor.float() for name, tensor in state.items()}
    return renamed(wide, ((r"(\d)\.(\d)", lambda match: f"basic.{int(match[1]) - 1}.{match[2]}"),))


def levels(name: str) -> list[str]:
    """The files of the authors' set that a file of this name belongs to, coarsest level first; none if it is no set."""
    match = re.fullmatch(r"modelL[1-6]_(\w+)\.t7", name)
    if match is None:
        return []
    # The sets that were trained on FlyingChairs have five files; their authors' code uses the last of them twice.
    last = 5 if match[1] in ("3", "4") else 6
    return [f"modelL{min(level, last)}_{match[1]}.t7" for level in range(1, 7)]


FLAVOURS = (
    Flavour(
        "spynet",
        "SpyNet",
        "spynet",
        remap,
        LICENCE,
        f"{AUTHORS}, converted by github.com/sniklaus/pytorch-spynet",
        downloads=(
            Download(
                "spynet",
                f"{PORT}/network-sintel-final.pytorch",
                "FlyingChairs, Sintel",
                *SIZE,
                "Sintel train 3.17 clean, 4.32 final (trained on it)",
                "Middlebury 0.27, FlyingChairs 2.30, Sintel clean 0.79, final 17.42, KITTI 2012 0.90, on 18 pairs",
            ),
            Download(
                "spynet-chairs",
                f"{PORT}/network-chairs-final.pytorch",
                "FlyingChairs",
                *SIZE,
                "Sintel train 4.12 clean, 5.57 final; FlyingChairs 2.63",
                "Middlebury 0.32, FlyingChairs 2.09, Sintel clean 0.85, final 23.11, KITTI 2012 0.99, on 18 pairs",
            ),
            Download("spynet-kitti", f"{PORT}/network-kitti-final.pytorch", "FlyingChairs, KITTI", *SIZE),
        ),
    ),
    Flavour("spynet", "SpyNet in Torch7", "spynet", from_torch7, LICENCE, AUTHORS, parts=levels),
)
