from __future__ import annotations

import numpy as np
import pytest
import torch

from flowcli.models.flow.rpwc import UP, ConvexUp, Rpwc, _normalised


def test_training_starts_from_steps_alone() -> None:
    model = Rpwc().train()
    image = torch.rand(1, 3, 64, 96)
    flows = model(image, image)
    assert [tuple(flow.shape[2:]) for flow in flows] == [(2, 3)] * 2 + [(4, 6)] * 2 + [(8, 12)] * 2 + [(64, 96)]
    assert all(flow.abs().max() < 1e-4 for flow in flows), "but for rounding in the warp"
    assert all(flow.any() for flow in model(image, image.flip(3)))


@pytest.mark.parametrize(
    ("refine", "given", "coarse", "fine"),
    [
        (1, {}, 2, 1),
        (3, {}, 2, 1),
        (4, {}, 3, 2),
        (9, {}, 4, 3),
        (1, {"coarse": 1, "fine": 1}, 1, 1),
        (3, {"coarse": 3, "fine": 2}, 3, 2),
        (5, {"coarse": 3, "fine": 2}, 4, 3),
    ],
)
@torch.inference_mode()
def test_number_of_iterations(refine: int, given: dict[str, int], coarse: int, fine: int) -> None:
    """As often as `refine` doubles, every other level gets one more."""
    model = Rpwc(refine=refine, **given).eval()
    calls: list[int] = []
    for update in (model.update, model.fine_update):
        update.register_forward_pre_hook(lambda module, given: calls.append(given[1].shape[-1]))
    flows = model(torch.rand(1, 3, 64, 96), torch.rand(1, 3, 64, 96))
    before = [3] * coarse + [6] * coarse + [12] * refine
    assert calls == before + [24] * fine
    # Only the last one is brought to full size.
    assert [flow.shape[-1] for flow in flows] == [*before, 96]


def test_parameters_do_not_depend_on_the_iterations() -> None:
    assert Rpwc(refine=1).state_dict().keys() == Rpwc(refine=9).state_dict().keys()
    assert 0.5e6 < sum(p.numel() for p in Rpwc().parameters()) < 1.5e6


@torch.inference_mode()
def test_convex_upsampling_keeps_a_constant_flow_in_pixels() -> None:
    up = ConvexUp(4)
    hidden, detail = torch.randn(2, 1, 4, 5, 7).unbind(0)
    flow = torch.tensor([1.5, -0.25])[None, :, None, None].expand(1, 2, 5, 7)
    fine = up(hidden, detail, flow)
    torch.testing.assert_close(fine, UP * flow[:, :, :1, :1].expand(1, 2, 5 * UP, 7 * UP))


@torch.inference_mode()
def test_convex_upsampling_against_a_loop() -> None:
    torch.manual_seed(0)
    up = ConvexUp(4)
    hidden, detail, flow = torch.randn(1, 4, 3, 4), torch.randn(1, 4, 3, 4), torch.randn(1, 2, 3, 4)
    masks = up.mask(hidden + detail)[0].numpy().reshape(9, UP, UP, 3, 4)
    coarse = np.pad(flow[0].numpy(), ((0, 0), (1, 1), (1, 1)), "edge")
    expected = np.zeros((2, 3 * UP, 4 * UP))
    for y in range(3 * UP):
        for x in range(4 * UP):
            weights = np.exp(masks[:, y % UP, x % UP, y // UP, x // UP])
            near = coarse[:, y // UP : y // UP + 3, x // UP : x // UP + 3].reshape(2, 9)
            expected[:, y, x] = UP * near @ (weights / weights.sum())
    np.testing.assert_allclose(up(hidden, detail, flow)[0].numpy(), expected, rtol=1e-4, atol=1e-4)


def test_matching_features_are_normalised_over_the_whole_frame() -> None:
    features = 3 + 5 * torch.randn(2, 4, 16, 24)
    normal = _normalised(features)
    assert normal.mean((2, 3)).abs().max() < 1e-5
    torch.testing.assert_close(normal.var((2, 3), correction=0), torch.ones(2, 4), rtol=1e-3, atol=0)
    assert _normalised(features.bfloat16()).dtype == torch.bfloat16


@torch.inference_mode()
def test_one_encoder_serves_all_levels() -> None:
    """A picture of half the size has the features that the larger one has a level further down."""
    model = Rpwc().eval()
    image = torch.rand(1, 3, 128, 192)
    large, small = model.encode(image), model.encode(torch.nn.functional.avg_pool2d(image, 2))
    for number in range(4, 12):
        torch.testing.assert_close(large[4 + number], small[number], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size", [(64, 64), (64, 224), (96, 160), (160, 96)])
@torch.inference_mode()
def test_a_level_at_1_64_takes_any_picture(size: tuple[int, int]) -> None:
    model = Rpwc(levels=5).eval()
    flows = model(*torch.rand(2, 1, 3, *size))
    coarsest = [max(-(-side // 64), 2) for side in size]
    assert [list(flow.shape[2:]) for flow in flows[:2]] == [coarsest] * 2
    assert flows[-1].shape[2:] == size
    assert all(flow.isfinite().all() for flow in flows)


def test_iterations_are_drawn_at_every_level() -> None:
    model = Rpwc(levels=5)
    dice = torch.Generator().manual_seed(0)
    drawn = []
    for _ in range(200):
        model.vary(dice)
        drawn.append(model.iterations)
    fine, refine, *coarse = zip(*drawn, strict=True)
    assert set(fine) == {1, 2, 3}
    assert set(refine) == {1, 2, 3, 4, 6, 8}
    assert [set(each) for each in coarse] == [{1, 2, 3, 4}] * 3
    again = Rpwc(levels=5)
    again.vary(torch.Generator().manual_seed(0))
    assert again.iterations == drawn[0]
