"""Fixtures for the tests of flowcli.video."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import pytest

from tests.tiny import children


@pytest.fixture(autouse=True)
def _no_child_stays() -> Iterator[None]:
    """No test leaves a process behind, whatever it did."""
    yield
    if sys.platform == "linux":
        assert children(os.getpid()) == set()
