"""Steps of Lucas and Kanade: every kernel against loops, and against motions that are known."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from flowcli.ops import lucas_kanade
from tests.ops import oracle
from tests.ops.layouts import LAYOUTS, random

WINDOWS, DAMPING = (1, 3), 0.01


def smooth(count: int, height: int, width: int, seed: int) -> Tensor:
    return torch.nn.functional.avg_pool2d(random(count, 1, height + 4, width + 4, seed=seed), 5, 1) * 3


def loops(first: Tensor, second: Tensor, flow: Tensor, windows: tuple[int, ...] = WINDOWS) -> Tensor:
    one, two, moved = (tensor.double().cpu().numpy() for tensor in (first[:, 0], second[:, 0], flow))
    each = (oracle.lucas_kanade(one[n], two[n], moved[n], windows, DAMPING) for n in range(len(one)))
    return torch.from_numpy(np.stack(list(each)))


@pytest.mark.parametrize("windows", [(0,), (1, 3), (4, 0, 2)])
@pytest.mark.parametrize(
    ("rows", "columns", "cell"), [(1, 1, 1), (1, 1, 4), (3, 5, 4), (6, 4, 2), (2, 3, 3), (7, 1, 1)]
)
def test_it_is_the_loop(device: str, rows: int, columns: int, cell: int, windows: tuple[int, ...]) -> None:
    first, second = (smooth(2, cell * rows, cell * columns, seed) for seed in range(2))
    flow = random(2, 2, rows, columns, seed=3)
    one, two, moved = (tensor.float().to(device) for tensor in (first, second, flow))
    measures = lucas_kanade(one, two, moved, windows, DAMPING)
    assert measures.dtype == torch.float32
    torch.testing.assert_close(measures.double().cpu(), loops(one, two, moved, windows), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(device: str, layout: str) -> None:
    first, second, flow = smooth(2, 12, 20, 0), smooth(2, 12, 20, 1), random(2, 2, 3, 5)
    one, two, moved = (LAYOUTS[layout](tensor.float().to(device)) for tensor in (first, second, flow))
    measures = lucas_kanade(one, two, moved, WINDOWS, DAMPING).double().cpu()
    torch.testing.assert_close(measures, loops(one, two, moved), rtol=1e-3, atol=1e-4)


def test_a_wide_picture_is_the_loop(device: str) -> None:
    """Wide enough for whole vectors, high enough for several threads."""
    first, second, flow = smooth(1, 64, 76, 0), smooth(1, 64, 76, 1), random(1, 2, 16, 19)
    one, two, moved = (tensor.float().to(device) for tensor in (first, second, flow))
    measures = lucas_kanade(one, two, moved, WINDOWS, DAMPING).double().cpu()
    torch.testing.assert_close(measures, loops(one, two, moved), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e30, -1e30, 3e9])
def test_flow_that_leads_nowhere(device: str, value: float) -> None:
    first, flow = smooth(1, 16, 24, 0).float().to(device), torch.zeros(1, 2, 4, 6, device=device)
    flow[0, 0, 1, 2] = flow[0, 1, 3, 5] = value
    measures = lucas_kanade(first, first, flow, (0,), DAMPING)
    assert measures.isfinite().all()
    assert not measures[0, :2, 1, 2].any(), "nothing in this cell is known"


def test_wrong_input_is_refused() -> None:
    picture, flow = torch.zeros(1, 1, 8, 12), torch.zeros(1, 2, 2, 3)
    with pytest.raises(ValueError, match=r"^pictures have the shapes \(1, 1, 8, 12\) and \(1, 1, 8, 8\), must have"):
        lucas_kanade(picture, picture[..., :8], flow, WINDOWS, DAMPING)
    for wrong in (flow[:, :1], flow[..., :2], torch.zeros(1, 2, 3, 3), torch.zeros(1, 2, 9, 12), flow[:, :, :0]):
        with pytest.raises(ValueError, match=r"^flow has the shape \(.*, must have \(N, 2, H / k, W / k\) of 8x12$"):
            lucas_kanade(picture, picture, wrong, WINDOWS, DAMPING)
    for windows in ((), (1, -1)):
        with pytest.raises(ValueError, match=r"^windows are \[.*\], must be at least one, and none negative$"):
            lucas_kanade(picture, picture, flow, windows, DAMPING)


def test_native_kernel_checks_too(library: object) -> None:
    picture, flow, run = torch.zeros(1, 1, 8, 12), torch.zeros(1, 2, 2, 3), torch.ops.flowcli.lucas_kanade
    with pytest.raises(RuntimeError, match="does not fit pictures"):
        run(picture, picture, torch.zeros(1, 2, 3, 3), [1], DAMPING)
    with pytest.raises(RuntimeError, match="do not fit the flow"):
        run(picture, picture[:, :0], flow, [1], DAMPING)
    with pytest.raises(RuntimeError, match="must be float32"):
        run(picture, picture.double(), flow, [1], DAMPING)
    with pytest.raises(RuntimeError, match="a window is negative"):
        run(picture, picture, flow, [1, -1], DAMPING)


@pytest.mark.slow
def test_opcheck(device: str) -> None:
    picture, flow = smooth(2, 8, 12, 0).float().to(device), random(2, 2, 2, 3).float().to(device)
    torch.library.opcheck(torch.ops.flowcli.lucas_kanade, (picture, picture.flip(3), flow, [1, 3], DAMPING))


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).random((height, width), np.float32)
    smoothed = cv2.GaussianBlur(noise, (0, 0), 2)
    spread: np.ndarray = 4 * (smoothed - smoothed.min()) / np.ptp(smoothed) - 2
    return spread


def moved(image: np.ndarray, u: float, v: float) -> np.ndarray:
    matrix = np.array([[1, 0, u], [0, 1, v]], np.float32)
    size = image.shape[::-1]
    return cv2.warpAffine(image, matrix, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)


def batched(image: np.ndarray) -> Tensor:
    return torch.from_numpy(image)[None, None]


@pytest.mark.parametrize(("u", "v"), [(0.4, 0.0), (0.0, -0.3), (0.25, 0.35), (0.0, 0.0)])
def test_steps_lead_to_the_true_flow(device: str, u: float, v: float) -> None:
    image = picture(128, 160)
    first, second = batched(image).to(device), batched(moved(image, u, v)).to(device)
    near, far = (
        lucas_kanade(first, second, torch.zeros(1, 2, 32, 40, device=device), WINDOWS, DAMPING).cpu().chunk(2, 1)
    )
    for measured, tolerance in ((near, 0.05), (far, 0.04)):
        step, sure, misfit = (part[0, :, 4:-4, 4:-4] for part in measured.split((2, 1, 1), 1))
        assert (step - torch.tensor([u, v])[:, None, None]).abs().mean() < tolerance
        assert ((sure > 0) & (sure < 1)).all()
        if (u, v) == (0, 0):
            assert misfit.max() < 1e-3
    # At the true flow, in cells of four pixels, nothing is left to do, but for what bilinear sampling blurs.
    flow = torch.tensor([u, v], device=device)[None, :, None, None].expand(1, 2, 32, 40) / 4
    assert lucas_kanade(first, second, flow, WINDOWS, DAMPING)[0, :2, 4:-4, 4:-4].abs().mean() < 0.04


def test_steps_where_nothing_can_be_measured(device: str) -> None:
    flat, still = torch.zeros(1, 1, 64, 96, device=device), torch.zeros(1, 2, 16, 24, device=device)
    near = lucas_kanade(flat, flat, still, WINDOWS, DAMPING)
    assert not near[:, :2].any()
    assert near[:, 2].max() < 0.01, "not sure of anything"
    first = batched(picture(64, 96)).to(device)
    outside = lucas_kanade(first, first, still + 1000, WINDOWS, DAMPING)
    assert not outside[:, :2].any()
    assert outside.isfinite().all()
    stripes = np.repeat(picture(64, 96)[:1], 64, 0)
    along = lucas_kanade(
        batched(stripes).to(device), batched(moved(stripes, 0.3, 0.3)).to(device), still, WINDOWS, DAMPING
    )
    assert along[0, 0, 4:-4, 4:-4].mean().item() == pytest.approx(0.3, abs=0.05)
    assert along[0, 1, 4:-4, 4:-4].abs().max() < 0.02, "the aperture problem: no step along the stripes"
    assert along[0, 2].max() < 0.012, "hardly more than where there is nothing"
    assert lucas_kanade(first, first, still, WINDOWS, DAMPING)[0, 2].mean() > 0.015
