"""FlowNetC's weights as FlowNetPytorch and MMFlow publish them."""

from __future__ import annotations

from flowcli.models.flavours import Download
from flowcli.models.flow.published._flownet import PINARD, mmflow, pinard
from flowcli.models.flow.published._mmflow import HOST

GMACS = 51.4

FLAVOURS = (
    pinard(
        "flownetc",
        "FlowNetC",
        "flownetc",
        Download(
            "flownetc",
            f"{PINARD}/flownetc_EPE1.766.pth",
            "FlyingChairs",
            39174320,
            GMACS,
            "FlyingChairs 1.766",
            sha256="b375584e3fb6f0208bf659c72e588803999ec038bc5ea42ecd023ace7be6ffc4",
        ),
    ),
    mmflow(
        "flownetc",
        "FlowNetC",
        Download(
            "flownetc-mmflow",
            f"{HOST}/flownet/flownetc_8x1_sfine_flyingthings3d_subset_384x768.pth",
            "FlyingChairs, FlyingThings3D",
            39175298,
            GMACS,
            "FlyingChairs 2.57; Sintel train 2.74 clean, 4.52 final; KITTI 2012 train 5.42",
        ),
    ),
)
