"""Local cost volumes: one schema per operator, several kernels (plain torch, C++, CUDA) behind it."""

from flowcli.ops.correlation import correlation, lookup_correlation

__all__ = ["correlation", "lookup_correlation"]
