"""PWC-Net's weights as NVlabs, pytorch-pwc, PTLFlow and MMFlow publish them.

Source: sniklaus/pytorch-pwc, whose own constructed model the names were compared with; of MMFlow, see `_mmflow`.
"""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING

from flowcli.models.flavours import Download, Flavour, Rule, State, renamed, scale
from flowcli.models.flow.published._mmflow import HOST, mmflow

if TYPE_CHECKING:
    from torch import Tensor

LICENCE = "CC BY-NC-SA 4.0, not for commercial use"
NVLABS = "https://github.com/NVlabs/PWC-Net/raw/master/PyTorch"
SIZE = 9374274, 84.1
"""Parameters, and 10^9 multiply-adds."""


def remap(state: State) -> dict[str, Tensor]:
    """NVlabs' weights under the names here, without `deconv2`, which is not used."""
    return {name: value for name, value in state.items() if not name.startswith("deconv2.")}


def _pyramid(level: int, number: int) -> str:
    """The name of the convolution `number`, from 0, of that level of the pyramid."""
    from flowcli.models.flow.pwcnet import names

    return f"{names(level)[number]}.0"


NUMBERS = {word: number for number, word in enumerate(("One", "Two", "Thr", "Fou", "Fiv", "Six"), 1)}
WORD = f"({'|'.join(NUMBERS)})"
PYTORCH_PWC: tuple[Rule, ...] = (
    (r"netRefiner\.netMain\.12", "dc_conv7"),
    (r"netRefiner\.netMain\.(\d+)", lambda match: f"dc_conv{int(match[1]) // 2 + 1}.0"),
    (rf"netExtractor\.net{WORD}\.([024])", lambda match: _pyramid(NUMBERS[match[1]], int(match[2]) // 2)),
    (rf"net{WORD}\.netUpflow", lambda match: f"deconv{NUMBERS[match[1]] + 1}"),
    (rf"net{WORD}\.netUpfeat", lambda match: f"upfeat{NUMBERS[match[1]] + 1}"),
    (rf"net{WORD}\.netSix\.0", lambda match: f"predict_flow{NUMBERS[match[1]]}"),
    (rf"net{WORD}\.net{WORD}\.0", lambda match: f"conv{NUMBERS[match[1]]}_{NUMBERS[match[2]] - 1}.0"),
)


def from_pytorch_pwc(state: State) -> dict[str, Tensor]:
    """The weights of pytorch-pwc under the names here; files on offer say `module` where its code says `net`."""
    return renamed({name.replace("module", "net"): tensor for name, tensor in state.items()}, PYTORCH_PWC)


MMFLOW: tuple[Rule, ...] = (
    (r"encoder\.layers\.(\d)\.layers\.([0-2])\.conv", lambda match: _pyramid(int(match[1]) + 1, int(match[2]))),
    (r"decoder\.decoders\.level(\d)\.dense_net\.layers\.(\d)\.layers\.conv", r"conv\1_\2.0"),
    (r"decoder\.decoders\.level(\d)\.predict_layer", r"predict_flow\1"),
    (r"decoder\.decoders\.level(\d)\.upflow_layer", r"deconv\1"),
    (r"decoder\.decoders\.level(\d)\.upfeat_layer", r"upfeat\1"),
    (r"decoder\.post_processor\.layers\.(\d)\.conv", lambda match: f"dc_conv{int(match[1]) + 1}.0"),
    (r"decoder\.post_processor\.layers\.6", "dc_conv7"),
)


def from_mmflow(state: State) -> dict[str, Tensor]:
    """MMFlow's weights under the names here, for means over channels in place of sums."""
    from flowcli.models.flow.pwcnet import COARSEST, DENSE, FINEST, PYRAMID, RADIUS

    out = renamed(state, MMFLOW)
    # New features come before the costs in every dense block.
    *starts, last = (slice(start, start + (2 * RADIUS + 1) ** 2) for start in accumulate(DENSE, initial=0))
    for level in range(COARSEST, FINEST - 1, -1):
        channels = PYRAMID[level - 1]
        for number, costs in enumerate(starts):
            scale(out, f"conv{level}_{number}.0.weight", costs, channels)
        scale(out, f"predict_flow{level}.weight", last, channels)
        scale(out, f"upfeat{level}.weight", last, channels, dimension=0)
    scale(out, "dc_conv1.0.weight", last, PYRAMID[FINEST - 1])
    return out


FLAVOURS = (
    Flavour(
        "pwcnet",
        "PWC-Net",
        "pwcnet",
        remap,
        LICENCE,
        "github.com/NVlabs/PWC-Net",
        downloads=(
            Download(
                "pwcnet",
                f"{NVLABS}/pwc_net.pth.tar",
                "FlyingChairs, FlyingThings3D, Sintel",
                *SIZE,
                "Sintel train 1.83 clean, 2.31 final (trained on it)",
            ),
            Download(
                "pwcnet-things",
                f"{NVLABS}/pwc_net_chairs.pth.tar",
                "FlyingChairs, FlyingThings3D",
                *SIZE,
                "Sintel train 2.55 clean, 3.93 final; KITTI 2015 train 10.35",
            ),
        ),
    ),
    mmflow(
        "pwcnet",
        "PWC-Net",
        "pwcnet",
        from_mmflow,
        Download(
            "pwcnet-mmflow",
            f"{HOST}/pwcnet/pwcnet_8x1_sfine_flyingthings3d_subset_384x768.pth",
            "FlyingChairs, FlyingThings3D",
            *SIZE,
            "Sintel train 2.26 clean, 3.79 final; KITTI train 3.66 (2012), 9.49 (2015)",
        ),
        Download(
            "pwcnet-mmflow-sintel",
            f"{HOST}/pwcnet/pwcnet_ft_4x1_300k_sintel_384x768.ckpt",
            "FlyingChairs, FlyingThings3D, Sintel",
            *SIZE,
            "Sintel train 1.50 clean, 2.06 final (trained on it)",
        ),
        Download(
            "pwcnet-mmflow-kitti",
            f"{HOST}/pwcnet/pwcnet_ft_4x1_300k_kitti_320x896.pth",
            "FlyingChairs, FlyingThings3D, KITTI",
            *SIZE,
            "KITTI train 1.07 (2012), 1.64 (2015) (trained on it)",
        ),
    ),
    Flavour(
        "pwcnet-nodc",
        "PWC-Net without context network",
        "pwcnet",
        remap,
        LICENCE,
        "github.com/hmorimitsu/ptlflow",
        downloads=(
            Download(
                "pwcnet-nodc",
                "https://github.com/hmorimitsu/ptlflow/releases/download/weights1/pwcnet-things-6a2e540b.ckpt",
                "FlyingChairs, FlyingThings3D; has no context network",
                *SIZE,
                sha256="6a2e540b",
            ),
        ),
        zeros="^dc_conv",
    ),
    Flavour(
        "pwcnet",
        "PWC-Net of pytorch-pwc",
        "pwcnet",
        from_pytorch_pwc,
        LICENCE,
        "github.com/NVlabs/PWC-Net, converted by github.com/sniklaus/pytorch-pwc",
    ),
)
