"""The weights of FlowNet 2.0 and its parts as NVIDIA, PTLFlow and MMFlow publish them."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING

from flowcli.models.flavours import Download, Flavour, State, prefixed, scale
from flowcli.models.flow.published._mmflow import HOST, flownet, mmflow

if TYPE_CHECKING:
    from torch import Tensor

    from flowcli.models.flow.flownet2 import Variant

PTLFLOW = "https://github.com/hmorimitsu/ptlflow/releases/download/weights1"
CHAIRS_AND_THINGS = "FlyingChairs, FlyingThings3D"


def remap(state: State, variant: Variant) -> dict[str, Tensor]:
    """NVIDIA's weights under the names here: those of a part alone have no prefix."""
    prefix = {"c": "flownetc.", "s": "flownets_1.", "sd": "flownets_d."}.get(variant, "")
    return prefixed(state, prefix)


def _nvidia(variant: Variant, *downloads: Download) -> Flavour:
    whole = variant == "full"
    return Flavour(
        "flownet2" if whole else f"flownet2-{variant}",
        "FlowNet2" if whole else f"FlowNet2-{variant.upper()}",
        "flownet2",
        partial(remap, variant=variant),
        "research only",
        "github.com/NVIDIA/flownet2-pytorch",
        {"variant": variant},
        downloads,
    )


PARTS = {
    "flownetC": ("flownetc", 1),
    "flownetS1": ("flownets_1", 1),
    "flownetS2": ("flownets_2", 1),
    "flownetSD": ("flownets_d", 1),
    "flownet_fusion": ("flownetfusion", 0),
}
"""MMFlow's names of the networks in the stack: the names here, and where their levels begin."""
FUSED = 20**2
"""MMFlow multiplies the flow of small displacements by 20 before the fusion; here, as at NVIDIA, it is divided."""


def from_mmflow(state: State) -> dict[str, Tensor]:
    """The weights of MMFlow's FlowNet2, or of a stack of its parts, under the names here."""
    out: dict[str, Tensor] = {}
    for theirs, (ours, first) in PARTS.items():
        pattern = re.compile(rf"(?:flownetCSS\.)?{theirs}\.(.*)")
        part = {match[1]: tensor for name, tensor in state.items() if (match := pattern.fullmatch(name))}
        out |= prefixed(flownet(part, first), f"{ours}.")
    if "flownetfusion.conv0.0.weight" in out:
        for kind in ("weight", "bias"):
            scale(out, f"flownets_d.predict_flow2.{kind}", slice(None), FUSED, dimension=0)
    return out


def from_mmflow_alone(state: State) -> dict[str, Tensor]:
    """The weights of MMFlow's FlowNet2-SD under the names here."""
    return prefixed(flownet(state), "flownets_d.")


STACK = {"order": "bgr", "centre": False}

FLAVOURS = (
    _nvidia(
        "full",
        Download(
            "flownet2",
            f"{PTLFLOW}/flownet2-things-d63b53a7.ckpt",
            f"{CHAIRS_AND_THINGS}, ChairsSDHom",
            162518834,
            231.3,
            "Sintel train 2.02 clean, 3.54 final; KITTI 2015 train 10.08",
            sha256="d63b53a7",
        ),
    ),
    _nvidia(
        "c",
        Download(
            "flownet2-c",
            f"{PTLFLOW}/flownetc-things-cc8ac7fd.ckpt",
            CHAIRS_AND_THINGS,
            39175298,
            52.2,
            sha256="cc8ac7fd",
        ),
    ),
    _nvidia(
        "s",
        Download(
            "flownet2-s",
            f"{PTLFLOW}/flownets-things-98cde14d.ckpt",
            CHAIRS_AND_THINGS,
            38676506,
            36.8,
            sha256="98cde14d",
        ),
    ),
    _nvidia("sd"),
    _nvidia("cs"),
    _nvidia("css"),
    mmflow(
        "flownet2",
        "FlowNet2",
        "flownet2",
        from_mmflow,
        Download(
            "flownet2-mmflow",
            f"{HOST}/flownet2/flownet2_8x1_sfine_flyingthings3d_subset_384x768.pth",
            f"{CHAIRS_AND_THINGS}, ChairsSDHom",
            162518834,
            231.3,
            "Sintel train 1.78 clean, 3.31 final; KITTI train 3.02 (2012), 8.02 (2015)",
        ),
        variant="full",
        **STACK,
    ),
    mmflow(
        "flownet2-cs",
        "FlowNet2-CS",
        "flownet2",
        from_mmflow,
        Download(
            "flownet2-cs-mmflow",
            f"{HOST}/flownet2/flownet2cs_8x1_sfine_flyingthings3d_subset_384x768.pth",
            CHAIRS_AND_THINGS,
            77870620,
            91.2,
            "Sintel train 1.96 clean, 3.69 final; KITTI train 3.50 (2012), 8.23 (2015)",
        ),
        variant="cs",
        **STACK,
    ),
    mmflow(
        "flownet2-css",
        "FlowNet2-CSS",
        "flownet2",
        from_mmflow,
        Download(
            "flownet2-css-mmflow",
            f"{HOST}/flownet2/flownet2css_8x1_sfine_flyingthings3d_subset_384x768.pth",
            CHAIRS_AND_THINGS,
            116565942,
            130.2,
            "Sintel train 1.85 clean, 3.57 final; KITTI train 3.13 (2012), 7.72 (2015)",
        ),
        variant="css",
        last="bilinear",
        **STACK,
    ),
    mmflow(
        "flownet2-sd",
        "FlowNet2-SD",
        "flownet2",
        from_mmflow_alone,
        Download(
            "flownet2-sd-mmflow",
            f"{HOST}/flownet2/flownet2sd_8x1_slong_chairssdhom_384x448.pth",
            "ChairsSDHom",
            45371666,
            59.3,
            "ChairsSDHom 0.37",
        ),
        variant="sd",
        **STACK,
    ),
)
