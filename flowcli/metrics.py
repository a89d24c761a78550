"""Errors of estimated flow, and of made pictures, against ground truth."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def endpoint_errors(estimate: Tensor, truth: Tensor) -> Tensor:
    """Length of the difference at every pixel, in pixels: (..., H, W) for flows (..., 2, H, W).

    Raises ValueError if the shapes differ: broadcasting would hide a mistake.
    """
    if estimate.shape != truth.shape:
        raise ValueError(f"shapes differ: estimate {tuple(estimate.shape)}, truth {tuple(truth.shape)}")
    return lengths(estimate.float() - truth.float())


def endpoint_error(estimate: Tensor, truth: Tensor, valid: Tensor | None = None) -> Tensor:
    """Mean endpoint error (EPE) over the valid pixels of all images, in pixels; NaN if there are none.

    estimate, truth: (..., 2, H, W); valid: (..., H, W) bool, None for all.
    """
    return _mean(endpoint_errors(estimate, truth), valid)


def pixel_rate(estimate: Tensor, truth: Tensor, threshold: float, valid: Tensor | None = None) -> Tensor:
    """Fraction of valid pixels whose error exceeds `threshold` pixels; an unknown estimate (NaN) counts as an error."""
    return _mean(~(endpoint_errors(estimate, truth) <= threshold), valid)


def outlier_rate(estimate: Tensor, truth: Tensor, valid: Tensor | None = None) -> Tensor:
    """Fraction of valid pixels whose error exceeds 3 pixels and 5 % of the true length; NaN counts as an outlier.

    Source: the "Fl" measure of KITTI 2015, Menze and Geiger 2015.
    """
    errors = endpoint_errors(estimate, truth)
    return _mean(~((errors <= 3) | (errors <= 0.05 * lengths(truth.float()))), valid)


def angular_error(estimate: Tensor, truth: Tensor, valid: Tensor | None = None) -> Tensor:
    """Mean angle between (u, v, 1) and the true one over the valid pixels, in degrees; NaN if there are none.

    estimate, truth: (..., 2, H, W); valid: (..., H, W) bool, None for all.
    Source: Barron, Fleet, Beauchemin 1994, as used by Baker et al. 2011, section 4.1 ("AE").
    """
    # From cross and dot product: the arc cosine of the dot product alone is inaccurate for small angles.
    (u, v), (x, y) = estimate.double().unbind(-3), truth.double().unbind(-3)
    cross = torch.stack([v - y, x - u, u * y - v * x]).square().sum(0).sqrt()
    return _mean(torch.rad2deg(torch.atan2(cross, u * x + v * y + 1)), valid)


def lengths(flow: Tensor) -> Tensor:
    """Length of the vector at every pixel: (..., H, W) for flows (..., 2, H, W)."""
    return flow.square().sum(dim=-3).sqrt()


def _mean(values: Tensor, valid: Tensor | None) -> Tensor:
    return (values if valid is None else values[valid]).float().mean()


def psnr(picture: Tensor, truth: Tensor) -> Tensor:
    """Peak signal-to-noise ratio over all values, decibels; both in 0 to 255. Infinite where nothing differs."""
    error = (picture.double() - truth.double()).square().mean()
    return 10 * torch.log10(255**2 / error)


def ssim(picture: Tensor, truth: Tensor) -> Tensor:
    """Mean structural similarity of pictures (C, H, W) in 0 to 255, over all channels; sides of at least 11 pixels.

    Source: Wang, Bovik, Sheikh and Simoncelli 2004, with their Gaussian window: 11x11 pixels, deviation 1.5.
    """
    one, other = picture.double()[:, None], truth.double()[:, None]
    bell = torch.exp(-(torch.arange(-5.0, 6.0, dtype=torch.float64, device=one.device) ** 2) / (2 * 1.5**2))
    bell = (bell / bell.sum())[None, None]

    def mean(values: Tensor) -> Tensor:
        return F.conv2d(F.conv2d(values, bell[..., None]), bell[..., None, :])

    means = mean(one), mean(other)
    both = means[0] * means[1]
    spread = mean(one * one) - means[0] ** 2 + mean(other * other) - means[1] ** 2
    alike = (2 * both + (0.01 * 255) ** 2) * (2 * (mean(one * other) - both) + (0.03 * 255) ** 2)
    return (alike / ((means[0] ** 2 + means[1] ** 2 + (0.01 * 255) ** 2) * (spread + (0.03 * 255) ** 2))).mean()
