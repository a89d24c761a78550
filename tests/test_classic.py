from __future__ import annotations

import cv2
import numpy as np
import pytest

from flowcli import classic


@pytest.mark.parametrize("name", classic.METHODS)
def test_a_picture_that_is_shifted(name: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 52, 3)).astype(np.float32)
    large = cv2.resize(noise, (260, 200), interpolation=cv2.INTER_CUBIC).clip(0, 255).astype(np.uint8)
    first, second = large[10:-10, 10:-10], large[12:-8, 7:-13]
    flow = classic.METHODS[name](first, second)
    assert flow.shape == (2, 180, 240)
    assert flow.dtype == np.float32
    inner = flow[:, 20:-20, 20:-20]
    assert np.median(inner[0]) == pytest.approx(3, abs=0.1)
    assert np.median(inner[1]) == pytest.approx(-2, abs=0.1)
