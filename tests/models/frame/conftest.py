"""The kernels that the networks' tests run with."""

from tests.kernels import device, library

__all__ = ["device", "library"]
