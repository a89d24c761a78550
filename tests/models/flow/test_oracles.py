"""Published networks with weights set by hand, whose flow can therefore be told without running them.

All other weights are zero. A filter has a number in its middle alone, so a layer computes sums of channels, pixel by
pixel. What may be negative goes through LeakyReLU as two channels, x and -x: p(x) - p(-x) = 1.1 x.
The parts of rpwc have tests of this kind in test_rpwc.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from flowcli import models
from flowcli.engine.engine import Engine
from flowcli.models.base import FlowModel
from flowcli.types import Frame

pytestmark = pytest.mark.slow

Sum = dict[int, float]
"""Of channels, each with its factor."""
Vector = tuple[float, float]

HEIGHT, WIDTH = 128, 192
MARGIN = 16
"""Pixels at the border into which, where the second picture is warped, things enter that it does not show."""
NEAR = 1e-4
"""Pixels that are rounding."""


def blank(name: str, **settings: Any) -> FlowModel:
    """The network with zero everywhere, but for batch normalisation, which does nothing."""
    with torch.device("meta"):
        model = models.create(name, **settings).requires_grad_(False)
    model.to_empty(device="cpu")
    for key, tensor in model.state_dict().items():
        # Batch normalisation adds 1e-5 to the variance.
        tensor.fill_(1 - 1e-5 if key.endswith("running_var") else 0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.fill_(1)
    return model


def put(model: FlowModel, layer: str, sums: Sequence[Sum]) -> None:
    """Output channel n of a convolution becomes the nth sum of its input channels."""
    weight = model.get_parameter(f"{layer}.weight")
    weight.zero_()
    for output, terms in enumerate(sums):
        for channel, factor in terms.items():
            weight[output, channel, weight.shape[2] // 2, weight.shape[3] // 2] = factor


def both_signs(sums: Sequence[Sum]) -> list[Sum]:
    return [{channel: sign * factor for channel, factor in terms.items()} for terms in sums for sign in (1, -1)]


def signed(*factors: float, slope: float = 0.1) -> list[Sum]:
    """The numbers that the layer before gave out with both signs, each times a factor."""
    once = [factor / (1 + slope) for factor in factors]
    return [{2 * number: factor, 2 * number + 1: -factor} for number, factor in enumerate(once)]


def channels(first: int, count: int = 2) -> list[Sum]:
    return [{first + number: 1.0} for number in range(count)]


def double(model: FlowModel, layer: str) -> None:
    """A transposed convolution that makes each pixel four equal ones. Of its 4x4 weights the inner 2x2 do that."""
    for channel in range(2):
        model.get_parameter(f"{layer}.weight")[channel, channel, 1:3, 1:3] = 1


def estimated(model: FlowModel, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    frames = [Frame(image, index, Fraction(index)) for index, image in enumerate((first, second))]
    return next(Engine(model, device="cpu", precision="fp32").pairs(frames)).forward.uv.numpy()


def assert_flow(flow: np.ndarray, expected: Any, margin: int = 0) -> None:
    """expected: (2, H, W), or one vector for all pixels."""
    inner = (slice(None), slice(margin, HEIGHT - margin), slice(margin, WIDTH - margin))
    expected = np.asarray(expected, float)
    expected = np.broadcast_to(expected if expected.ndim > 1 else expected[:, None, None], flow.shape)
    np.testing.assert_allclose(flow[inner], expected[inner], rtol=0, atol=NEAR)


# Ramps: red says where a pixel is from left to right, green from top to bottom, one level of 255 for each pixel. The
# second picture at the same place, first minus second, is then the flow: 3 levels redder in the first is 3 px to the
# right. The networks have nothing to do but to pass these differences on.


def ramps(u: Any, v: Any) -> tuple[np.ndarray, np.ndarray]:
    """A pair of pictures; u, v: in whole pixels, a number each or (H, W)."""
    y, x = np.mgrid[:HEIGHT, :WIDTH] + 40
    blue = np.full_like(x, 99)
    pair = np.stack((x, y, blue), 2), np.stack((x - u, y - v, blue), 2)
    assert min(image.min() for image in pair) >= 0
    assert max(image.max() for image in pair) <= 255
    return pair[0].astype(np.uint8), pair[1].astype(np.uint8)


def difference(second: int = 3) -> list[Sum]:
    """First minus second, red and green. second: the channel of its red."""
    return [{colour: 1, second + colour: -1} for colour in range(2)]


LEVELS_OVER_20 = 255 / 20
"""White is 1 for the networks, and they give flow / 20."""
RAMP_NETWORKS: dict[str, tuple[str, dict[str, Any], str, tuple[str, ...]]] = {
    "flownets": ("flownets", {}, "net", ("conv1", "conv2")),
    "flownets-bn": ("flownets", {"norm": True}, "net", ("conv1", "conv2")),
    "flownet2-s": ("flownet2", {"variant": "s"}, "flownets_1", ("conv1", "conv2")),
    "flownet2-sd": (
        "flownet2",
        {"variant": "sd"},
        "flownets_d",
        ("conv0", "conv1", "conv1_1", "conv2", "conv2_1"),
    ),
}
"""Network, settings, the part that is wired, and its layers down to 1/4 of full size."""


def wire(model: FlowModel, part: str, layers: Sequence[str], sums: Sequence[Sum], scale: float) -> None:
    """The part's flow / 20 becomes two sums of its input channels, times `scale`."""
    for layer in layers:
        put(model, f"{part}.{layer}.0", both_signs(sums))
        sums = signed(1, 1)
    sums = signed(scale, scale)
    if part == "flownets_d":
        put(model, f"{part}.inter_conv2.0", sums)
        sums = channels(0)
    # The output of the last layer is the first that predict_flow2 sees.
    put(model, f"{part}.predict_flow2", sums)


def ramp_network(name: str) -> FlowModel:
    network, settings, part, layers = RAMP_NETWORKS[name]
    model = blank(network, **settings)
    wire(model, part, layers, difference(), LEVELS_OVER_20)
    return model


@pytest.mark.parametrize("name", RAMP_NETWORKS)
def test_differences_of_two_ramps_are_the_shift(name: str) -> None:
    model = ramp_network(name)
    for shift in ((5, -3), (-6, 4)):
        assert_flow(estimated(model, *ramps(*shift)), shift)


@pytest.mark.parametrize("name", RAMP_NETWORKS)
def test_flow_at_a_quarter_of_the_size_lies_in_the_middle_of_its_pixels(name: str) -> None:
    """Strided filters look at pixels 0, 4, 8...; what they find is shown in the middle of the four: 1.5, 5.5, 9.5..."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    flow = estimated(ramp_network(name), *ramps(x // 4, -(y // 4)))
    # Between these the flow is interpolated; beyond the outermost it stays what it is there.
    u, v = (x - 1.5).clip(0, WIDTH - 4) / 4, -(y - 1.5).clip(0, HEIGHT - 4) / 4
    assert_flow(flow, (u, v))


SPYNET_LEVELS = 4
"""192 pixels are halved three times, until no side is longer than 32."""


def spynet(*numbers: int) -> FlowModel:
    """Those of its networks, from 0 for the coarsest level, see the whole of the difference; the others nothing."""
    model = blank("spynet")
    for number in numbers:
        sums = difference()
        for layer in (0, 2, 4, 6):
            put(model, f"basic.{number}.{layer}", both_signs(sums))
            sums = signed(1, 1, slope=0)
        # Each halving makes the ramps twice as steep. Red comes divided by 0.229, green by 0.224, as in ImageNet.
        levels = 255 / 2 ** (SPYNET_LEVELS - 1 - number)
        put(model, f"basic.{number}.8", signed(levels * 0.229, levels * 0.224, slope=0))
    return model


@pytest.mark.parametrize("number", range(SPYNET_LEVELS))
def test_spynet_passes_on_what_one_level_finds(number: int) -> None:
    assert_flow(estimated(spynet(number), *ramps(5, -3)), (5, -3))


def test_spynet_finds_nothing_left_once_the_second_picture_is_warped() -> None:
    assert_flow(estimated(spynet(*range(SPYNET_LEVELS)), *ramps(5, -3)), (5, -3), MARGIN)


# A stack hands on the pair, the second picture warped by the flow so far (channels 6 to 8), that flow / 20 (9 and 10)
# and the length of the difference of colours that is left (11). The flow so far is a bias, the next network reads.

SO_FAR, SHIFT = (4, -8), (7, -4)
LEFT = (3, 4)
HANDED_ON: dict[str, tuple[list[Sum], float, Vector]] = {
    "second picture": (difference(), LEVELS_OVER_20, SHIFT),
    "warped picture": (difference(second=6), LEVELS_OVER_20, LEFT),
    "flow": (channels(9), 1, SO_FAR),
    "misfit": ([{11: 1}, {}], LEVELS_OVER_20, (5, 0)),
}


@pytest.mark.parametrize(("variant", "before", "part"), [("cs", "flownetc", 1), ("css", "flownets_1", 2)])
def test_flownet2_hands_on_from_network_to_network(variant: str, before: str, part: int) -> None:
    model = blank("flownet2", variant=variant)
    model.get_parameter(f"{before}.predict_flow2.bias")[:] = torch.tensor(SO_FAR) / 20
    for sums, scale, expected in HANDED_ON.values():
        wire(model, f"flownets_{part}", ("conv1", "conv2"), sums, scale)
        assert_flow(estimated(model, *ramps(*SHIFT)), expected, MARGIN)


def test_flownet2_hands_both_flows_to_the_fusion() -> None:
    """First picture, flow for small displacements, flow of the stack, the lengths of both, what both leave unlike."""
    model = blank("flownet2")
    small, stack = (4, 3), (-8, 6)
    # Divided by 20 where others multiply: a quirk of the published weights.
    model.get_parameter("flownets_d.predict_flow2.bias")[:] = torch.tensor(small) * 20
    model.get_parameter("flownets_2.predict_flow2.bias")[:] = torch.tensor(stack) / 20
    sums = [*channels(3, 6), {9: 255.0}, {10: 255.0}]
    put(model, "flownetfusion.conv0.0", both_signs(sums))
    put(model, "flownetfusion.inter_conv0.0", signed(*(1 for _ in sums)))
    # With a shift of (4, -9), what is left is (0, -12) and (12, -15).
    expected = [*small, *stack, 5, 10, 12, np.hypot(12, 15)]
    for number in range(0, len(sums), 2):
        put(model, "flownetfusion.predict_flow0", channels(number))
        assert_flow(estimated(model, *ramps(4, -9)), expected[number : number + 2], MARGIN)


# Blocks: a bright block on black is all that there is to match. The networks pass the red of single pixels on to where
# they compare; of the cost volume they read the one channel of the block's displacement.

each_kernel = pytest.mark.parametrize("device", ["torch", "cpp"], indirect=True)
DIRECTIONS = [(1, 0), (-1, 0), (0, 1), (0, -1), (2, -1)]


def blocks(height: int, width: int, top: int, left: int, side: int, shift: Vector) -> tuple[np.ndarray, np.ndarray]:
    """A pair of pictures with a red block, and that block moved."""
    first, second = np.zeros((2, height, width, 3), np.uint8)
    u, v = map(int, shift)
    first[top : top + side, left : left + side, 0] = 255
    second[top + v : top + v + side, left + u : left + u + side, 0] = 255
    assert first.sum() == second.sum()
    return first, second


def assert_block(flow: np.ndarray, top: int, left: int, side: int, inside: Vector, outside: Vector = (0, 0)) -> None:
    """The flow on the block and around it, but for two pixels on both sides of its edge, where it is interpolated."""
    y, x = np.mgrid[: flow.shape[1], : flow.shape[2]]
    off_y, off_x = (np.abs(at - start - (side - 1) / 2) for at, start in ((y, top), (x, left)))
    beyond = np.maximum(off_y, off_x) - side / 2
    for part, vector in ((beyond < -2, inside), (beyond > 2, outside)):
        assert part.any()
        np.testing.assert_allclose(flow[:, part], np.tile(vector, (part.sum(), 1)).T, rtol=0, atol=NEAR)


def flownetc_network(name: str, dx: int, dy: int) -> FlowModel:
    """FlowNetC compares at 1/8 of full size, in steps of two: of 16 pixels, 10 to either side."""
    if name == "flownetc":
        model, part = blank("flownetc"), "net"
        # The mean is subtracted of the picture: black shall be zero again.
        model.get_parameter("net.conv1.0.bias")[0] = 0.411
    else:
        model, part = blank("flownet2", variant="c", centre=False), "flownetc"
    for layer in ("conv1", "conv2", "conv3"):
        put(model, f"{part}.{layer}.0", channels(0, 1))
    # Costs come after the 32 channels of conv_redir, row by row; each is the mean of 256 channels of which one is used.
    cost, full = 32 + 21 * (dy + 10) + (dx + 10), 256
    put(model, f"{part}.conv3_1.0", [{cost: full}])
    put(model, f"{part}.predict_flow3", [{0: 16 * step / 20} for step in (dx, dy)])
    double(model, f"{part}.upsampled_flow3_to_2")
    # The flow so far comes after 128 channels of conv2 and 64 of deconv2.
    put(model, f"{part}.predict_flow2", channels(128 + 64))
    return model


@each_kernel
@pytest.mark.parametrize("name", ["flownetc", "flownet2-c"])
@pytest.mark.parametrize(("dx", "dy"), DIRECTIONS)
def test_flownetc_finds_the_block(name: str, dx: int, dy: int, device: str) -> None:
    model, shift = flownetc_network(name, dx, dy), (16 * dx, 16 * dy)
    place = 64, 96, 16
    assert_block(estimated(model, *blocks(HEIGHT, WIDTH, *place, shift)), *place, shift)


FEATURES = {6: 196, 5: 128, 4: 96, 3: 64, 2: 32}
"""Channels that PWC-Net compares at each level, 1/2^level of full size."""


def pwcnet_network(level: int, dx: int, dy: int) -> FlowModel:
    """PWC-Net that finds one displacement at one level, in cells of 2^level pixels, and adds it to the flow so far."""
    model = blank("pwcnet")
    for each in range(1, level + 1):
        for name in ("a", "aa", "b"):
            # The first sees blue, green and red, in this order.
            put(model, f"conv{each}{name}.0", channels(2 if (each, name) == (1, "a") else 0, 1))
    # Predictions see what the dense block adds; then costs, row by row, each the mean of channels of which one is used.
    costs = 128 + 128 + 96 + 64 + 32
    cost = costs + 9 * (dy + 4) + (dx + 4)
    found: list[Sum] = [{cost: FEATURES[level] * 2**level * step / 20} for step in (dx, dy)]
    for each, width in FEATURES.items():
        # Then, but for the coarsest level, the features of the first picture and the flow so far.
        sums = channels(costs + 81 + width) if each < 6 else [{}, {}]
        if each == level:
            sums = [before | new for before, new in zip(sums, found, strict=True)]
        put(model, f"predict_flow{each}", sums)
        if each > 2:
            double(model, f"deconv{each}")
    return model


@each_kernel
@pytest.mark.parametrize(
    ("level", "dx", "dy"),
    [(3, *direction) for direction in DIRECTIONS] + [(level, 2, -1) for level in FEATURES if level != 3],
)
def test_pwcnet_finds_the_block(level: int, dx: int, dy: int, device: str) -> None:
    shift = (2**level * dx, 2**level * dy)
    place = 64, 64, max(2**level, 8)
    assert_block(estimated(pwcnet_network(level, dx, dy), *blocks(128, 256, *place, shift)), *place, shift)


@each_kernel
@pytest.mark.parametrize("level", [5, 4, 3, 2])
def test_pwcnet_looks_around_the_flow_of_the_coarser_level(level: int, device: str) -> None:
    """That one says (2, 1) cells everywhere, the block moves by (1, 2): what is left to find on it is (-1, 1)."""
    model, cell = pwcnet_network(level, -1, 1), 2**level
    model.get_parameter(f"predict_flow{level + 1}.bias")[:] = torch.tensor((2, 1)) * cell / 20
    place = 64, 64, max(cell, 8)
    flow = estimated(model, *blocks(192, 256, *place, (cell, 2 * cell)))
    assert_block(flow, *place, inside=(cell, 2 * cell), outside=(2 * cell, cell))


@pytest.mark.parametrize("name", [*RAMP_NETWORKS, "spynet"])
def test_identical_pictures_have_no_flow(name: str) -> None:
    model = spynet(*range(SPYNET_LEVELS)) if name == "spynet" else ramp_network(name)
    noise = np.random.RandomState(0).randint(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    # SpyNet samples at positions that are rounded: about 1e-5 px off, of which noise would make more.
    picture, rounding = (ramps(0, 0)[0], 1e-4) if name == "spynet" else (noise, 0)
    np.testing.assert_allclose(estimated(model, picture, picture), 0, atol=rounding)


@pytest.mark.parametrize("name", ["flownetc", "flownet2-c", "pwcnet"])
def test_a_block_that_stays_has_no_flow(name: str) -> None:
    model = pwcnet_network(4, 2, -1) if name == "pwcnet" else flownetc_network(name, 2, -1)
    assert not estimated(model, *blocks(HEIGHT, WIDTH, 64, 96, 16, (0, 0))).any()


UNUSED = {"pwcnet": 2 * 2 * 4 * 4 + 2}
"""In published files of PWC-Net: deconv2, from 2 to 2 channels, 4x4, with biases; nothing reads its flow."""


@pytest.mark.parametrize(
    ("name", "published", "millions"),
    [
        ("flownets", 38_675_536, "38.7"),
        ("flownetc", 39_174_320, "39.2"),
        ("flownet2", 162_518_834, "162.5"),
        ("spynet", 1_440_300, "1.44"),
        ("pwcnet", 9_374_340, "9.37"),
    ],
)
def test_number_of_parameters(name: str, published: int, millions: str) -> None:
    with torch.device("meta"):
        count = sum(parameter.numel() for parameter in models.create(name).parameters())
    assert count == published - UNUSED.get(name, 0)
    assert f"{count / 1e6:.{len(millions.partition('.')[2])}f}" == millions
