"""The kernels that the operators' tests run with."""

from tests.kernels import device, library

__all__ = ["device", "library"]
