"""FlowNetS' weights as FlowNetPytorch and MMFlow publish them."""

from __future__ import annotations

from flowcli.models.flavours import Download
from flowcli.models.flow.published._flownet import PINARD, mmflow, pinard
from flowcli.models.flow.published._mmflow import HOST

GMACS = 36.4

FLAVOURS = (
    # Names and shapes are those of FlowNetS; that it wants BGR, only the name of the file tells.
    pinard(
        "flownets-caffe",
        "FlowNetS converted from Caffe",
        "flownets",
        Download(
            "flownets-caffe",
            f"{PINARD}/flownets_from_caffe.pth",
            "FlyingChairs, by FlowNet's authors",
            38675536,
            GMACS,
            "FlyingChairs 2.71; Sintel train 4.50 clean, 5.45 final",
            sha256="0cfadc4e9b4b05807519f5d7472068e799bb587c7b23c3c8a5e94ed20a38ea51",
        ),
        {"order": "bgr"},
        file="caffe",
    ),
    pinard(
        "flownets",
        "FlowNetS",
        "flownets",
        Download(
            "flownets",
            f"{PINARD}/flownets_EPE1.951.pth",
            "FlyingChairs",
            38675536,
            GMACS,
            "FlyingChairs 1.951",
            sha256="d98505dc749c35f0d4b4ce0536b4f64797ec22ea194a5f743af97dc3f778447d",
        ),
    ),
    pinard(
        "flownets-bn",
        "FlowNetS with batch normalisation",
        "flownets",
        Download(
            "flownets-bn",
            f"{PINARD}/flownets_bn_EPE2.459.pth",
            "FlyingChairs; with batch normalisation",
            38680336,
            GMACS,
            "FlyingChairs 2.459",
            sha256="77bbee0e7023c0d5b3f64bd9a55bdd71a87426616c2f4924379b2fd648e0c9c8",
        ),
        {"norm": True},
    ),
    mmflow(
        "flownets",
        "FlowNetS",
        Download(
            "flownets-mmflow",
            f"{HOST}/flownet/flownets_8x1_slong_flyingchairs_384x448.pth",
            "FlyingChairs",
            38676506,
            GMACS,
            "FlyingChairs 2.03; Sintel train 4.25 clean, 5.64 final; KITTI 2012 train 8.81",
        ),
    ),
)
