from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from flowcli import metrics


def _flow(*vectors: tuple[float, float]) -> torch.Tensor:
    """(2, 1, W): one vector per pixel."""
    return torch.tensor(vectors).T[:, None]


TRUTH = _flow((0.0, 0.0), (10, 0), (0, 100), (-6, 8))
ESTIMATE = _flow((3.0, 4.0), (10, 0), (0, 104), (-6, 5))
"""Errors 5, 0, 4 (less than 5 % of 100), 3 (not more than 3)."""


def test_endpoint_errors_are_euclidean() -> None:
    assert metrics.endpoint_errors(ESTIMATE, TRUTH).tolist() == [[5, 0, 4, 3]]


def test_endpoint_error_is_their_mean() -> None:
    assert metrics.endpoint_error(ESTIMATE, TRUTH).item() == 3


def test_endpoint_error_ignores_unknown_truth() -> None:
    truth = TRUTH.clone()
    truth[:, 0, 0] = torch.nan
    assert metrics.endpoint_error(ESTIMATE, truth, torch.tensor([[False, True, True, True]])).item() == pytest.approx(
        7 / 3
    )
    assert metrics.endpoint_error(ESTIMATE, truth, torch.zeros(1, 4, dtype=torch.bool)).isnan()


def test_outlier_rate_wants_three_pixels_and_five_percent() -> None:
    assert metrics.outlier_rate(ESTIMATE, TRUTH).item() == 0.25
    assert metrics.outlier_rate(ESTIMATE, TRUTH, torch.tensor([[True, False, False, True]])).item() == 0.5


@pytest.mark.parametrize(("threshold", "rate"), [(1, 0.75), (3, 0.5), (4.5, 0.25), (5, 0)])
def test_pixel_rate_counts_errors_above_the_threshold(threshold: float, rate: float) -> None:
    assert metrics.pixel_rate(ESTIMATE, TRUTH, threshold).item() == rate


@pytest.mark.parametrize(
    ("estimate", "truth", "degrees"),
    [
        ((1, 0), (0, 0), 45),
        ((0, 1), (0, -1), 90),
        ((3, 4), (3, 4), 0),
        ((1, 0), (0, 1), 60),
        ((100, 0), (100.001, 0), 5.7290e-6),
    ],
)
def test_angular_error(estimate: tuple[float, float], truth: tuple[float, float], degrees: float) -> None:
    assert metrics.angular_error(_flow(estimate).double(), _flow(truth).double()).item() == pytest.approx(
        degrees, rel=1e-3
    )


def test_angular_error_is_a_mean_over_valid_pixels() -> None:
    estimate, truth = _flow((1.0, 0.0), (0, 1), (5, 5)), _flow((0.0, 0.0), (0, -1), (9, 1))
    valid = torch.tensor([[True, True, False]])
    assert metrics.angular_error(estimate, truth, valid).item() == pytest.approx(67.5)


def test_unknown_estimates_are_outliers() -> None:
    estimate = torch.full_like(TRUTH, torch.nan)
    assert metrics.outlier_rate(estimate, TRUTH).item() == 1
    assert metrics.pixel_rate(estimate, TRUTH, 1).item() == 1
    assert metrics.endpoint_error(estimate, TRUTH).isnan()


def test_a_batch_is_one_mean_over_all_valid_pixels() -> None:
    estimate, truth = torch.stack((ESTIMATE, TRUTH)), torch.stack((TRUTH, TRUTH))
    valid = torch.tensor([[[True, True, True, True]], [[True, False, False, False]]])
    assert metrics.endpoint_error(estimate, truth, valid).item() == pytest.approx(12 / 5)


def test_half_estimates_are_compared_in_float32() -> None:
    assert metrics.endpoint_error(TRUTH.half(), TRUTH).dtype == torch.float32


def test_unlike_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^shapes differ: estimate \(2, 1, 4\), truth \(1, 2, 1, 4\)$"):
        metrics.endpoint_error(ESTIMATE, TRUTH[None])


def test_psnr() -> None:
    truth = torch.zeros(3, 5, 7, dtype=torch.uint8)
    assert metrics.psnr(truth + 51, truth).item() == pytest.approx(20 * math.log10(5))
    assert metrics.psnr(truth, truth).item() == math.inf


def test_ssim_is_that_of_loops() -> None:
    dice = np.random.default_rng(3)
    truth = dice.integers(0, 256, (2, 13, 15)).astype(float)
    picture = np.clip(truth + dice.normal(0, 30, truth.shape), 0, 255)
    bell = np.exp(-(np.arange(-5, 6) ** 2) / 4.5)
    window = np.outer(bell, bell) / np.outer(bell, bell).sum()
    found = []
    for channel in range(2):
        for y in range(3):
            for x in range(5):
                one, other = (each[channel, y : y + 11, x : x + 11] for each in (picture, truth))
                mean, mean2 = (window * one).sum(), (window * other).sum()
                var, var2 = (window * (one - mean) ** 2).sum(), (window * (other - mean2) ** 2).sum()
                covariance = (window * (one - mean) * (other - mean2)).sum()
                light = (2 * mean * mean2 + 6.5025) / (mean**2 + mean2**2 + 6.5025)
                found.append(light * (2 * covariance + 58.5225) / (var + var2 + 58.5225))
    assert metrics.ssim(*map(torch.from_numpy, (picture, truth))).item() == pytest.approx(np.mean(found), abs=1e-9)
    assert metrics.ssim(*map(torch.from_numpy, (truth, truth))).item() == pytest.approx(1)
