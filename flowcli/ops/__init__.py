"""Operators of optical flow: one schema each, several kernels (plain torch, C++, CUDA) behind it."""

from flowcli.ops.correlation import correlation, lookup_correlation
from flowcli.ops.gate import gated_update
from flowcli.ops.lucas_kanade import lucas_kanade
from flowcli.ops.upsample import convex_upsample

__all__ = ["convex_upsample", "correlation", "gated_update", "lookup_correlation", "lucas_kanade"]
