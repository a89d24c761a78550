"""Maps of numbers carried along a flow, each on its own grid."""

from __future__ import annotations

import torch
from torch import Tensor

from flowcli.geometry import backward_warp, resize_flow


def carry_map(values: Tensor, flow: Tensor, scale: Tensor | None = None) -> Tensor:
    """(1, C, h, w) float32: `values` of a key frame, as they lie on the frame from which the flow leads there.

    values: (1, C, h, w) floating, on a grid that covers the whole picture: cells are areas, centres in their middle.
    flow: (2, H, W) pixels of the picture, from the frame to the key frame. scale: factors (C, 1, 1) or (C, h, w) for
    what is carried. Outside, the border is repeated; what does not move is copied bit by bit.
    Source: Zhu et al. 2017, arXiv:1611.07715, section 3.1, equations 2 to 4.
    """
    own = resize_flow(torch.nan_to_num(flow.float()), *values.shape[-2:])
    carried, _ = backward_warp(values, own[None])
    carried = torch.where((own == 0).all(0), values.float(), carried)
    return carried if scale is None else carried * scale.to(carried.device)
