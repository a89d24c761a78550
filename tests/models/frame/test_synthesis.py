"""What the network that makes frames along a flow does before it has learnt anything: it mixes what the flow moves."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from flowcli.engine.precision import converted
from flowcli.models.conv import int8_works, measure_ranges
from flowcli.models.frame import synthesis
from flowcli.models.frame.synthesis import Synthesis

HEIGHT, WIDTH = 41, 66
int8 = pytest.mark.skipif(not int8_works(), reason="no instructions for numbers of 8 bits")


def scene(x: float, y: float, height: int = HEIGHT, width: int = WIDTH) -> Tensor:
    """(1, 3, height, width): smooth noise, seen from a place that is so many pixels to the right and down."""
    noise = torch.rand(1, 3, 24, 24, generator=torch.Generator().manual_seed(3))
    large = F.interpolate(noise, (192, 192), mode="bicubic", align_corners=False).clamp(0, 1)
    return large[..., round(y) + 60 : round(y) + 60 + height, round(x) + 60 : round(x) + 60 + width]


def panned(x: float, y: float) -> list[Tensor]:
    """Flow both ways between two frames whose content moves by x, y."""
    flow = torch.tensor((x, y)).view(1, 2, 1, 1).expand(1, 2, HEIGHT, WIDTH).contiguous()
    return [flow, -flow]


@torch.inference_mode()
def test_a_pan_goes_on_evenly() -> None:
    """Also at the border, where only one of the frames shows what is there."""
    model = Synthesis().eval()
    first, second = scene(0, 0), scene(-16, 8)
    made = model(first, second, (0.25, 0.5, 0.75), HEIGHT, WIDTH, *panned(16, -8))
    for frame, share in zip(made, (0.25, 0.5, 0.75), strict=True):
        error = (frame - scene(-16 * share, 8 * share)).abs()
        assert error[..., 6:-6, 10:-10].max() < 1e-3
        assert error.mean() < 2e-3


@torch.inference_mode()
def test_what_is_hidden_in_one_frame_comes_from_the_other() -> None:
    """A square moves over a ground that stands still: behind it the second frame knows more, before it the first."""
    model = Synthesis().eval()
    ground = scene(0, 0)

    def frame(left: int) -> Tensor:
        image = ground.clone()
        image[..., 12:28, left : left + 16] = torch.tensor((1.0, 0.0, 0.2)).view(1, 3, 1, 1)
        return image

    flows = [torch.zeros(1, 2, HEIGHT, WIDTH) for _ in range(2)]
    flows[0][:, 0, 12:28, 16:32], flows[1][:, 0, 12:28, 32:48] = 16, -16
    (made,) = model(frame(16), frame(32), (0.5,), HEIGHT, WIDTH, *flows)
    mixed = (frame(16) + frame(32)) / 2
    error, plain = ((each - frame(24)).abs() for each in (made, mixed))
    # The network has flow at half size: the outline is off by a pixel or two.
    assert error[..., 15:25, 18:22].mean() < 0.2 * plain[..., 15:25, 18:22].mean()
    assert error[..., 15:25, 43:46].mean() < 0.2 * plain[..., 15:25, 43:46].mean()
    assert error[..., 15:25, 28:36].max() < 1e-3
    assert error.mean() < 0.4 * plain.mean()


@torch.inference_mode()
def test_another_size_shows_the_same() -> None:
    model = Synthesis().eval()
    still = [torch.zeros(1, 2, HEIGHT, WIDTH)] * 2
    image = scene(0, 0)
    (larger,) = model(image, image, (0,), 2 * HEIGHT, 2 * WIDTH, *still)
    expected = F.interpolate(image, scale_factor=2, mode="bicubic", align_corners=False)
    assert (larger - expected).abs().max() < 0.02
    assert (larger - expected).abs().mean() < 0.003
    (narrow,) = model(image, image, (0,), HEIGHT, WIDTH - 1, *still)
    assert narrow.shape == (1, 3, HEIGHT, WIDTH - 1)
    assert (narrow - F.interpolate(image, (HEIGHT, WIDTH - 1), mode="bilinear")).abs().max() < 0.02


@pytest.mark.parametrize("size", [(HEIGHT, WIDTH), (70, 90)])
@torch.inference_mode()
def test_rows_are_decoded_apart(monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    model = Synthesis(half=4, quarter=6, fine=3, hidden=8).eval()
    for parameter in model.parameters():
        parameter.add_(0.05 * torch.randn_like(parameter))
    given = (scene(0, 0), scene(3, 1), (0.3,), *size, *panned(-3, -1))
    (whole,) = model(*given)
    monkeypatch.setattr(synthesis, "POINTS", 3 * size[1])
    (parts,) = model(*given)
    torch.testing.assert_close(parts, whole, rtol=0, atol=1e-5)


@torch.inference_mode()
def test_unknown_flow_moves_nothing() -> None:
    model = Synthesis().eval()
    unknown = torch.full((1, 2, HEIGHT, WIDTH), torch.nan)
    given = scene(0, 0), scene(2, 0), (0.5,), HEIGHT, WIDTH
    (made,), (still,) = (model(*given, *[flow] * 2) for flow in (unknown, torch.zeros_like(unknown)))
    assert torch.equal(made, still)


def test_moving_is_the_same_with_gradients() -> None:
    """Training samples with another operator than inference."""
    torch.manual_seed(0)
    model = Synthesis(half=4, quarter=6, fine=3, hidden=8)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
        given = (scene(0, 0), scene(3, 1), (0.3,), HEIGHT, WIDTH, *panned(-3.4, -1.2))
        (without,) = model(*given)
    (learning,) = model(*given)
    torch.testing.assert_close(without, learning.detach(), rtol=0, atol=1e-4)


@pytest.mark.parametrize("precision", ["bf16", pytest.param("int8", marks=int8)])
@torch.inference_mode()
def test_fast_precisions_change_little(precision: str) -> None:
    """Beside what the network changes in the mixed frames, before training and after."""
    torch.manual_seed(0)
    model = Synthesis().eval()
    given = (scene(0, 0), scene(4, 2), (0.5,), HEIGHT, WIDTH, *panned(-4, -2))
    (before,) = model(*given)
    for parameter in model.parameters():
        parameter.add_(0.02 * torch.randn_like(parameter))
    ((exact,), model.ranges) = measure_ranges(model, lambda: model(*given))
    (made,) = converted(model, torch.device("cpu"), precision)(*given)
    assert made.dtype == torch.float32
    assert (made - exact).abs().mean() < 0.05 * (exact - before).abs().mean()
    assert not torch.equal(made, exact)
