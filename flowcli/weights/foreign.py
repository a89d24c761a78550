"""Names that others gave to the weights of networks that are here, and what else is unlike there.

MMFlow's cost volumes are sums over channels, ours are means: since everything behind them up to the next weights is
homogeneous, those weights are multiplied by the number of channels.
Source: open-mmlab/mmflow 0.5.2 and sniklaus/pytorch-pwc, whose own constructed models the names were compared with;
anuragranj/spynet, spynet.lua.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from itertools import accumulate

from torch import Tensor

from flowcli.models.flow.pwcnet import COARSEST, DENSE, FINEST, PYRAMID, RADIUS, names

State = Mapping[str, Tensor]
Rule = tuple[str, Callable[[re.Match[str]], str]]
"""A pattern that a whole name has to match, but for `.weight` or `.bias`; and the name here."""

COSTS = (2 * RADIUS + 1) ** 2


def _named(state: State, rules: tuple[Rule, ...]) -> dict[str, Tensor]:
    """The tensors by the names that the first rule that fits gives them; where none fits, by one that nothing has."""
    out: dict[str, Tensor] = {}
    for name, tensor in state.items():
        stem, _, kind = name.rpartition(".")
        matches = ((re.fullmatch(pattern, stem), rename) for pattern, rename in rules)
        found = next((rename(match) for match, rename in matches if match), f"no rule for {stem}")
        out[f"{found}.{kind}"] = tensor
    return out


def _multiplied(state: dict[str, Tensor], name: str, channels: slice, factor: float, dimension: int = 1) -> None:
    if name in state:
        changed = state[name].clone()
        changed.movedim(dimension, 0)[channels] *= factor
        state[name] = changed


MMFLOW_PWCNET: tuple[Rule, ...] = (
    (r"encoder\.layers\.(\d)\.layers\.([0-2])\.conv", lambda m: f"{names(int(m[1]) + 1)[int(m[2])]}.0"),
    (r"decoder\.decoders\.level(\d)\.dense_net\.layers\.(\d)\.layers\.conv", lambda m: f"conv{m[1]}_{m[2]}.0"),
    (r"decoder\.decoders\.level(\d)\.predict_layer", lambda m: f"predict_flow{m[1]}"),
    (r"decoder\.decoders\.level(\d)\.upflow_layer", lambda m: f"deconv{m[1]}"),
    (r"decoder\.decoders\.level(\d)\.upfeat_layer", lambda m: f"upfeat{m[1]}"),
    (r"decoder\.post_processor\.layers\.(\d)\.conv", lambda m: f"dc_conv{int(m[1]) + 1}.0"),
    (r"decoder\.post_processor\.layers\.6", lambda m: "dc_conv7"),
)


def pwcnet_of_mmflow(state: State) -> dict[str, Tensor]:
    """MMFlow's PWC-Net by the names here."""
    out = _named(state, MMFLOW_PWCNET)
    # New features come before the costs in every dense block.
    before = list(accumulate(DENSE, initial=0))
    for level in range(COARSEST, FINEST - 1, -1):
        channels = PYRAMID[level - 1]
        for number, start in enumerate(before[:-1]):
            _multiplied(out, f"conv{level}_{number}.0.weight", slice(start, start + COSTS), channels)
        last = slice(before[-1], before[-1] + COSTS)
        _multiplied(out, f"predict_flow{level}.weight", last, channels)
        _multiplied(out, f"upfeat{level}.weight", last, channels, dimension=0)
    _multiplied(out, "dc_conv1.0.weight", last, PYRAMID[FINEST - 1])
    return out


NUMBERS = {word: number for number, word in enumerate(("One", "Two", "Thr", "Fou", "Fiv", "Six"), 1)}
PYTORCH_PWC: tuple[Rule, ...] = (
    (r"netRefiner\.netMain\.12", lambda m: "dc_conv7"),
    (r"netRefiner\.netMain\.(\d+)", lambda m: f"dc_conv{int(m[1]) // 2 + 1}.0"),
    (r"netExtractor\.net(\w{3})\.([024])", lambda m: f"{names(NUMBERS[m[1]])[int(m[2]) // 2]}.0"),
    (r"net(\w{3})\.netUpflow", lambda m: f"deconv{NUMBERS[m[1]] + 1}"),
    (r"net(\w{3})\.netUpfeat", lambda m: f"upfeat{NUMBERS[m[1]] + 1}"),
    (r"net(\w{3})\.netSix\.0", lambda m: f"predict_flow{NUMBERS[m[1]]}"),
    (r"net(\w{3})\.net(\w{3})\.0", lambda m: f"conv{NUMBERS[m[1]]}_{NUMBERS[m[2]] - 1}.0"),
)


def pwcnet_of_pytorch_pwc(state: State) -> dict[str, Tensor]:
    """The PWC-Net of pytorch-pwc by the names here; files on offer say `module` where its code says `net`."""
    return _named({name.replace("module", "net"): tensor for name, tensor in state.items()}, PYTORCH_PWC)


def _flownet_rules(first: int) -> tuple[Rule, ...]:
    """Rules of one FlowNet whose finest convolution and prediction here have the number `first`."""
    flow = (
        (r"pred_out", lambda level: f"predict_flow{level}"),
        (r"pred_out\.0", lambda level: f"inter_conv{level}.0"),
        (r"pred_out\.1", lambda level: f"predict_flow{level}"),
        (r"deconv_out\.deconvs\.0", lambda level: f"deconv{level - 1}.0"),
        (r"upsample_pred\.deconvs\.0", lambda level: f"upsampled_flow{level}_to_{level - 1}"),
    )

    def rule(pattern: str, rename: Callable[[int], str]) -> Rule:
        return rf"decoder\.decoders\.level(\d)\.{pattern}", lambda m: rename(int(m[1]) - 1 + first)

    return (
        (r"encoder\.layers\.(\d)\.layers\.0\.conv", lambda m: f"conv{int(m[1]) + first}.0"),
        (r"encoder\.layers\.(\d)\.layers\.1\.conv", lambda m: f"conv{int(m[1]) + first}_1.0"),
        (r"encoder\.plugin_layer\.conv", lambda m: "conv0.0"),
        (r"corr_encoder\.conv_redir\.conv", lambda m: "conv_redir.0"),
        (r"corr_encoder\.layers\.0\.layers\.0\.conv", lambda m: "conv3_1.0"),
        (r"corr_encoder\.layers\.(\d)\.layers\.0\.conv", lambda m: f"conv{int(m[1]) + 3}.0"),
        (r"corr_encoder\.layers\.(\d)\.layers\.1\.conv", lambda m: f"conv{int(m[1]) + 3}_1.0"),
        *(rule(pattern, rename) for pattern, rename in flow),
    )


def flownet_of_mmflow(state: State, first: int = 1) -> dict[str, Tensor]:
    """One of MMFlow's FlowNets by the names here; `first` is 0 for the fusion, which counts from 1 there."""
    out = _named(state, _flownet_rules(first))
    if "conv_redir.0.weight" in out:
        _multiplied(out, "conv3_1.0.weight", slice(32, None), 256)
    return out


PARTS = {
    "flownetC": ("flownetc", 1),
    "flownetS1": ("flownets_1", 1),
    "flownetS2": ("flownets_2", 1),
    "flownetSD": ("flownets_d", 1),
    "flownet_fusion": ("flownetfusion", 0),
}


def flownet2_of_mmflow(state: State) -> dict[str, Tensor]:
    """MMFlow's FlowNet2, or a stack of its parts, by the names here."""
    out: dict[str, Tensor] = {}
    for theirs, (ours, first) in PARTS.items():
        pattern = re.compile(rf"(?:flownetCSS\.)?{theirs}\.(.*)")
        part = {match[1]: tensor for name, tensor in state.items() if (match := pattern.fullmatch(name))}
        out |= {f"{ours}.{name}": tensor for name, tensor in flownet_of_mmflow(part, first).items()}
    if "flownetfusion.conv0.0.weight" in out:
        # MMFlow multiplies this flow by 20 where the network here divides, as NVIDIA's does.
        for kind in ("weight", "bias"):
            _multiplied(out, f"flownets_d.predict_flow2.{kind}", slice(None), 400, dimension=0)
    return out


def spynet_of_torch7(state: State) -> dict[str, Tensor]:
    """The networks of SpyNet's authors, "<level>.<layer>.weight" and so on with levels from 1, by the names here."""
    return _named(state, ((r"(\d)\.(\d)", lambda m: f"basic.{int(m[1]) - 1}.{m[2]}"),))
