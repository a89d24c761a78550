"""Weights of MMFlow: where they lie, and the names of its FlowNets.

MMFlow's cost volumes are sums over channels, ours are means. Everything between a cost volume and the next weights is
homogeneous, so those weights are multiplied by the number of channels.
Source: open-mmlab/mmflow 0.5.2, whose own constructed models the names were compared with.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from flowcli.models.flavours import Download, Flavour, Rule, State, renamed, scale

if TYPE_CHECKING:
    from torch import Tensor

HOST = "https://download.openmmlab.com/mmflow"
COMPARED = 256
"""Channels of the features that FlowNetC compares."""
REDIRECTED = 32
"""Channels that stand before the costs in what follows them."""


def mmflow(
    name: str,
    title: str,
    network: str,
    rename: Callable[[State], dict[str, Tensor]],
    *downloads: Download,
    **settings: Any,
) -> Flavour:
    """The flavour of weights that MMFlow publishes; settings: arguments of the network."""
    licence, source = "Apache-2.0 (MMFlow)", "github.com/open-mmlab/mmflow"
    return Flavour(name, f"{title} of MMFlow", network, rename, licence, source, settings, downloads)


def flownet_rules(first: int) -> tuple[Rule, ...]:
    """Rules for one FlowNet whose finest convolution and prediction have the number `first` here."""
    flow: tuple[tuple[str, Callable[[int], str]], ...] = (
        (r"pred_out", lambda level: f"predict_flow{level}"),
        (r"pred_out\.0", lambda level: f"inter_conv{level}.0"),
        (r"pred_out\.1", lambda level: f"predict_flow{level}"),
        (r"deconv_out\.deconvs\.0", lambda level: f"deconv{level - 1}.0"),
        (r"upsample_pred\.deconvs\.0", lambda level: f"upsampled_flow{level}_to_{level - 1}"),
    )

    def rule(pattern: str, rename: Callable[[int], str]) -> Rule:
        return rf"decoder\.decoders\.level(\d)\.{pattern}", lambda match: rename(int(match[1]) - 1 + first)

    return (
        (r"encoder\.layers\.(\d)\.layers\.0\.conv", lambda match: f"conv{int(match[1]) + first}.0"),
        (r"encoder\.layers\.(\d)\.layers\.1\.conv", lambda match: f"conv{int(match[1]) + first}_1.0"),
        (r"encoder\.plugin_layer\.conv", "conv0.0"),
        (r"corr_encoder\.conv_redir\.conv", "conv_redir.0"),
        (r"corr_encoder\.layers\.0\.layers\.0\.conv", "conv3_1.0"),
        (r"corr_encoder\.layers\.(\d)\.layers\.0\.conv", lambda match: f"conv{int(match[1]) + 3}.0"),
        (r"corr_encoder\.layers\.(\d)\.layers\.1\.conv", lambda match: f"conv{int(match[1]) + 3}_1.0"),
        *(rule(pattern, rename) for pattern, rename in flow),
    )


def flownet(state: State, first: int = 1) -> dict[str, Tensor]:
    """The weights of one FlowNet of MMFlow under the names here; `first` is 0 for the fusion, which counts from 1."""
    out = renamed(state, flownet_rules(first))
    if "conv_redir.0.weight" in out:
        scale(out, "conv3_1.0.weight", slice(REDIRECTED, None), COMPARED)
    return out
