"""The native kernels, for tests with the real network."""

from tests.kernels import library

__all__ = ["library"]
