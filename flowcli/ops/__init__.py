"""Operators of optical flow: one schema each, several kernels (plain torch, C++, CUDA) behind it."""

from flowcli.ops.alike import elect
from flowcli.ops.brightness import levelled_brightness
from flowcli.ops.correlation import correlation, lookup_correlation
from flowcli.ops.crowd import crowded_out
from flowcli.ops.deform import deform_conv
from flowcli.ops.gate import gated_update
from flowcli.ops.labels import sample_labels
from flowcli.ops.lucas_kanade import lucas_kanade
from flowcli.ops.means import cell_means
from flowcli.ops.paint import paint_flow
from flowcli.ops.pixels import unpack_pixels, unshuffle_pixels
from flowcli.ops.quantise import quantise
from flowcli.ops.splat import forward_splat
from flowcli.ops.upsample import convex_upsample
from flowcli.ops.warp import warp

__all__ = [
    "cell_means",
    "convex_upsample",
    "correlation",
    "crowded_out",
    "deform_conv",
    "elect",
    "forward_splat",
    "gated_update",
    "levelled_brightness",
    "lookup_correlation",
    "lucas_kanade",
    "paint_flow",
    "quantise",
    "sample_labels",
    "unpack_pixels",
    "unshuffle_pixels",
    "warp",
]
