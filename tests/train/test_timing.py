from __future__ import annotations

import time

import pytest

from flowcli.train.timing import Limit


def test_minutes_are_all_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The validation at the end belongs to them."""
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    limit = Limit(2.0)
    now += 100
    assert limit.elapsed == 100
    assert not limit.is_near()
    limit.check = 19.0
    assert not limit.is_near()
    limit.check = 20.0
    assert limit.is_near()
    limit.check = 0.0
    now += 20
    assert limit.is_near()
    assert not Limit().is_near()
