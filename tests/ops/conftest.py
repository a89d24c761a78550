"""The kernels that the operators' tests run with."""

from tests.kernels import device, library
from tests.ops.compilers import compiler

__all__ = ["compiler", "device", "library"]
