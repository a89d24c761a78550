"""VideoINR's weights as its authors publish them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from flowcli.models.flavours import Download, Flavour, Rule, State, renamed

if TYPE_CHECKING:
    from torch import Tensor

UNUSED = r"(upconv[12]|HRconv|conv_last)\."
"""Layers of Zooming Slow-Mo that are in the file, and that nothing reads."""
MEETINGS = {
    "": "encoder.between",
    r"ConvBLSTM\.forward_net\.pcd_h\.": "encoder.lstm.hidden",
    r"ConvBLSTM\.forward_net\.pcd_c\.": "encoder.lstm.memory",
}
"""Where two maps are aligned and joined."""
LAYERS = {"offset_conv1": "compare", "offset_conv2": "guide", "offset_conv3": "refine", "fea_conv": "blend"}
"""Of one level of an alignment, without its deformable convolution."""
SIRENS = {"feat_imnet": "content", "flow_imnet": "motion", "encode_imnet": "colour"}


def _meeting(place: str, ours: str) -> tuple[Rule, ...]:
    level = rf"{place}pcd_align\.L(\d)"

    def way(layer: str) -> Callable[[re.Match[str]], str]:
        return lambda match: f"{ours}.ways.{int(match[2]) - 1}.levels.{int(match[1]) - 1}.{layer}"

    return (
        (rf"{place}fea_L(\d)_conv(\d)", lambda found: f"{ours}.pyramid.steps.{int(found[1]) - 2}.{int(found[2]) - 1}"),
        (rf"{level}_dcnpack_(\d)", way("deform")),
        (rf"{level}_dcnpack_(\d)\.conv_offset_mask", way("deform.places")),
        *((rf"{level}_{theirs}_(\d)", way(layer)) for theirs, layer in LAYERS.items()),
        (rf"{place}fusion", f"{ours}.join"),
    )


RULES: tuple[Rule, ...] = (
    (r"conv_first", "encoder.first"),
    (r"feature_extraction\.(\d+\.conv\d)", r"encoder.front.\1"),
    (r"recon_trunk\.(\d+\.conv\d)", r"encoder.trunk.\1"),
    *(rule for theirs, ours in MEETINGS.items() for rule in _meeting(theirs, ours)),
    (r"ConvBLSTM\.forward_net\.cell_list\.0\.conv", "encoder.lstm.gates"),
    (r"ConvBLSTM\.conv_1x1", "encoder.lstm.join"),
    *((rf"{theirs}\.net\.(\d)(?:\.linear)?", rf"decoder.{ours}.layers.\1") for theirs, ours in SIRENS.items()),
)


def remap(state: State) -> dict[str, Tensor]:
    """The weights under the names here, without the layers that nothing reads."""
    return renamed({name: tensor for name, tensor in state.items() if not re.match(UNUSED, name)}, RULES)


FLAVOURS = (
    Flavour(
        "videoinr",
        "VideoINR",
        "videoinr",
        remap,
        "none stated, so all rights are reserved",
        "github.com/Picsart-AI-Research/VideoINR-Continuous-Space-Time-Super-Resolution",
        downloads=(
            Download(
                "videoinr",
                "https://drive.google.com/uc?export=download&id=1JW_-ef_oHAmPZkssiXvOspIAn_poymK9",
                "Adobe240",
                10_978_615,
                11_779.6,
                "PSNR on Y of 8 times as many frames, 4 times as large: GoPro 30.26 dB, Adobe240 29.92 dB (centre)",
                file="latest_G.pth",
            ),
        ),
    ),
)
