"""The kernels that the operators' tests run with."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from tests.kernels import device, library
from tests.ops.compilers import compiler

__all__ = ["compiler", "device", "library"]


@pytest.fixture(autouse=True)
def _several_threads() -> Iterator[None]:
    """The work of an operator is shared by threads, whatever the other tests have."""
    before = torch.get_num_threads()
    torch.set_num_threads(max(2, before))
    yield
    torch.set_num_threads(before)
