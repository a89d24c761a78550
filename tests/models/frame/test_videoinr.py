"""The parts of VideoINR against loops in double precision that share no code with them."""

from __future__ import annotations

import copy
import gc
import math
import weakref
from collections.abc import Mapping
from fractions import Fraction

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from flowcli.models.frame import _conv_lstm, _decoder
from flowcli.models.frame._alignment import Alignment, Meeting
from flowcli.models.frame._conv_lstm import AlignedLSTM
from flowcli.models.frame._decoder import Axis
from flowcli.models.frame._siren import OMEGA, Siren
from flowcli.models.frame.published.videoinr import remap
from flowcli.models.frame.videoinr import VideoINR
from tests import reference
from tests.ops import oracle

Weights = Mapping[str, np.ndarray]


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def stirred(module: nn.Module) -> nn.Module:
    """With every weight changed: some begin as zeros."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return module.double()


def weights_of(module: nn.Module) -> Weights:
    return {name: tensor.detach().double().numpy() for name, tensor in module.state_dict().items()}


def sirens(weights: Weights, name: str, given: np.ndarray) -> np.ndarray:
    """What a network of sines makes of the numbers of one pixel."""
    last = max(int(key.split(".")[-2]) for key in weights if key.startswith(f"{name}.layers."))
    for number in range(last + 1):
        given = weights[f"{name}.layers.{number}.weight"] @ given + weights[f"{name}.layers.{number}.bias"]
        given = np.sin(30 * given) if number < last else given
    return given


# Networks of sines.


def test_a_siren_is_its_formula() -> None:
    network = Siren((3, 2), (5, 7), 4)
    weights = {f"siren.{name}": array for name, array in weights_of(network).items()}
    one, two = random(2, 3, 4, 6), random(2, 2, 4, 6, seed=1)
    *parts, bias = network.first()
    sums = sum(torch.einsum("oc,nchw->nohw", part, maps) for part, maps in zip(parts, (one, two), strict=True))
    with torch.no_grad():
        out = network(sums + bias[:, None, None]).numpy()
    both = torch.cat([one, two], 1).double().numpy()
    for image, y, x in np.ndindex(2, 4, 6):
        expected = sirens(weights, "siren", both[image, :, y, x])
        np.testing.assert_allclose(out[image, :, y, x], expected, rtol=1e-4, atol=1e-4)


def test_a_siren_begins_as_its_authors_say() -> None:
    """So that what goes into each sine after the first has a deviation of about one."""
    torch.manual_seed(0)
    network = Siren((200,), (64, 256), 3)
    first, second, last = (weights_of(network)[f"layers.{number}.weight"] for number in range(3))
    for weight, bound in ((first, 1 / 200), (second, math.sqrt(6 / 64) / 30), (last, math.sqrt(6 / 256) / 30)):
        assert 0.9 * bound < np.abs(weight).max() <= bound
    seen: list[Tensor] = []
    sums = 5 * random(1, 64, 100, 100)
    with torch.no_grad():
        seen.append(OMEGA * (network.get_parameter("layers.1.weight") @ sums.sin().flatten(2)))
    assert seen[0].std() == pytest.approx(1, abs=0.1)


# Alignment.


def convolve(weights: Weights, name: str, features: np.ndarray, stride: int = 1) -> np.ndarray:
    weight, bias = (torch.from_numpy(weights[f"{name}.{part}"]) for part in ("weight", "bias"))
    padding = weight.shape[2] // 2
    return F.conv2d(torch.from_numpy(features)[None], weight, bias, stride, padding)[0].numpy()


def leaky(features: np.ndarray) -> np.ndarray:
    return np.where(features > 0, features, 0.1 * features)


def doubled(features: np.ndarray) -> np.ndarray:
    return np.stack([reference.resize_plane(plane, 2 * plane.shape[0], 2 * plane.shape[1]) for plane in features])


def deform(weights: Weights, name: str, features: np.ndarray, known: np.ndarray) -> np.ndarray:
    places = convolve(weights, f"{name}.places", known)
    taps = len(places) // 3
    mask = 1 / (1 + np.exp(-places[2 * taps :]))
    return oracle.deform_conv(features, places[: 2 * taps], mask, weights[f"{name}.weight"], weights[f"{name}.bias"])


def align(weights: Weights, name: str, own: list[np.ndarray], other: list[np.ndarray]) -> np.ndarray:
    """Three levels from the coarsest to the finest, each written out."""

    def compare(level: int) -> np.ndarray:
        both = np.concatenate([own[level], other[level]])
        return leaky(convolve(weights, f"{name}.levels.{level}.compare", both))

    known = leaky(convolve(weights, f"{name}.levels.2.guide", compare(2)))
    moved = leaky(deform(weights, f"{name}.levels.2.deform", own[2], known))
    for level in (1, 0):
        layer = f"{name}.levels.{level}"
        known = leaky(convolve(weights, f"{layer}.guide", np.concatenate([compare(level), 2 * doubled(known)])))
        known = leaky(convolve(weights, f"{layer}.refine", known))
        finer = deform(weights, f"{layer}.deform", own[level], known)
        moved = convolve(weights, f"{layer}.blend", np.concatenate([finer, doubled(moved)]))
        moved = leaky(moved) if level == 1 else moved
    return moved


def test_alignment_is_the_loop() -> None:
    module = stirred(Alignment(4, 2))
    weights = {f"way.{name}": array for name, array in weights_of(module).items()}
    own, other = ([random(1, 4, 8 >> k, 12 >> k, seed=10 * seed + k).double() for k in range(3)] for seed in (1, 2))
    with torch.no_grad():
        moved = module(own, other)[0].numpy()
    expected = align(weights, "way", [each[0].numpy() for each in own], [each[0].numpy() for each in other])
    np.testing.assert_allclose(moved, expected, rtol=1e-9, atol=1e-9)


def test_a_meeting_is_both_ways_joined() -> None:
    module = stirred(Meeting(4, 2))
    weights = weights_of(module)
    first, second = random(2, 1, 4, 8, 12).double().unbind(0)

    def pyramid(features: np.ndarray) -> list[np.ndarray]:
        levels = [features]
        for step in (0, 1):
            features = leaky(convolve(weights, f"pyramid.steps.{step}.0", features, stride=2))
            features = leaky(convolve(weights, f"pyramid.steps.{step}.1", features))
            levels.append(features)
        return levels

    one, two = (pyramid(each[0].numpy()) for each in (first, second))
    both = np.concatenate([align(weights, "ways.0", one, two), align(weights, "ways.1", two, one)])
    with torch.no_grad():
        np.testing.assert_allclose(
            module(first, second)[0].numpy(), convolve(weights, "join", both), rtol=1e-9, atol=1e-9
        )


# The LSTM.


class Half(nn.Module):
    """In the place of an alignment: something that can be worked out in the head, and tells its inputs apart."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        return self.share * first + second


@pytest.mark.parametrize("tile", [256, 3, 1])
def test_the_lstm_is_the_loop(monkeypatch: pytest.MonkeyPatch, tile: int) -> None:
    module = stirred(AlignedLSTM(3, 1))
    assert isinstance(module, AlignedLSTM)
    monkeypatch.setitem(module._modules, "hidden", Half(0.5))
    monkeypatch.setitem(module._modules, "memory", Half(0.25))
    # Gates in parts, one of them narrower than what it sees around it.
    monkeypatch.setattr(_conv_lstm, "TILE", tile)
    weights = weights_of(module)
    maps = [random(1, 3, 4, 5, seed=seed).double() for seed in range(3)]

    def sigmoid(values: np.ndarray) -> np.ndarray:
        return np.asarray(1 / (1 + np.exp(-values)))

    def along(order: list[int]) -> dict[int, np.ndarray]:
        hidden = memory = np.zeros((3, 4, 5))
        seen = {}
        for number in order:
            given = maps[number][0].numpy()
            hidden, memory = 0.5 * given + hidden, 0.25 * given + memory
            gates = convolve(weights, "gates", np.concatenate([given, hidden]))
            memory = sigmoid(gates[3:6]) * memory + sigmoid(gates[:3]) * np.tanh(gates[9:])
            hidden = sigmoid(gates[6:9]) * np.tanh(memory)
            seen[number] = hidden
        return seen

    forth, back = along([0, 1, 2]), along([2, 1, 0])
    given = list(maps)
    with torch.no_grad():
        out = module(given)
    assert given == [], "maps that are not needed any more are let go"
    for number in range(3):
        expected = convolve(weights, "join", np.concatenate([forth[number], back[number]]))
        np.testing.assert_allclose(out[number][0].numpy(), expected, rtol=1e-9, atol=1e-9)


# Coordinates.


@pytest.mark.slow
@pytest.mark.parametrize("inputs", [1, 2, 3, 7, 36, 99])
@pytest.mark.parametrize("outputs", [1, 3, 8, 90, 252])
def test_nearest_pixels_are_those_of_exact_fractions(inputs: int, outputs: int) -> None:
    index, place = Axis(inputs, inputs, outputs).nearest(0, outputs, torch.zeros(()))
    ties = 0
    for j in range(outputs):
        query = Fraction(2 * j + 1, 2 * outputs)
        distances = [abs(query - Fraction(2 * i + 1, 2 * inputs)) for i in range(inputs)]
        nearest = [i for i, distance in enumerate(distances) if distance == min(distances)]
        ties += len(nearest) > 1
        # Of two that are as near, the one further on.
        assert int(index[j]) == nearest[-1]
        inside = (query - Fraction(2 * nearest[-1] + 1, 2 * inputs)) * 2 * inputs
        assert float(place[j]) == pytest.approx(float(inside), abs=1e-6)
        assert -1 <= float(place[j]) < 1
    if (inputs, outputs) == (36, 90):
        assert ties == 18


def test_the_padding_changes_no_place() -> None:
    """What lies to the right of a picture does not move the pixels in it, whatever its width."""
    alone, padded = Axis(35, 35, 80), Axis(35, 36, 80)
    like = torch.zeros(())
    for one, other in zip(alone.nearest(0, 80, like), padded.nearest(0, 80, like), strict=True):
        assert torch.equal(one, other)
    assert padded.size == pytest.approx(80 * 36 / 35)
    assert padded.count == 82


def test_flow_of_zero_looks_half_a_pixel_outside_at_the_edges() -> None:
    rows, columns = Axis(4, 4, 8), Axis(6, 6, 12)
    shares = _decoder.carried(torch.zeros(1, 2, 8, 12), 0, rows, columns)
    x, y = _decoder.on_grid(shares, 12, 8)[0].numpy()
    np.testing.assert_allclose(x[0], [12 * j / 11 - 0.5 for j in range(12)], atol=1e-4)
    np.testing.assert_allclose(y[:, 0], [8 * j / 7 - 0.5 for j in range(8)], atol=1e-4)


# The decoder.


def zeros_around(maps: np.ndarray, x: float, y: float) -> np.ndarray:
    """(C, H, W) at a place between -1 and 1, of which the outermost edges of the pixels are at -1 and 1."""
    height, width = maps.shape[1:]
    return oracle.sample(maps, ((y + 1) * height - 1) / 2, ((x + 1) * width - 1) / 2)


def decoded(
    weights: Weights, maps: np.ndarray, rgb: np.ndarray, large: np.ndarray, time: float, size: tuple[int, int]
) -> np.ndarray:
    """(3, H, W), as the authors describe it: everything that a network sees is put together for each pixel."""
    height, width = size
    rows, columns = maps.shape[1:]
    channels = len(weights["decoder.content.layers.3.bias"])
    content, flows, frame = (
        np.zeros((channels, height, width)),
        np.zeros((4, height, width)),
        np.zeros((3, height, width)),
    )
    for y, x in np.ndindex(height, width):
        row, column = (2 * y + 1) * rows // (2 * height), (2 * x + 1) * columns // (2 * width)
        place = (
            ((2 * y + 1) / height - (2 * row + 1) / rows) * rows,
            ((2 * x + 1) / width - (2 * column + 1) / columns) * columns,
        )
        given = np.concatenate([maps[:, row, column], rgb[:, row, column], place, [time]])
        content[:, y, x] = sirens(weights, "decoder.content", given)
    for y, x in np.ndindex(height, width):
        at = (2 * x + 1) / width - 1, (2 * y + 1) / height - 1
        given = np.concatenate([content[:, y, x], zeros_around(maps, *at), zeros_around(large, *at), [time]])
        flows[:, y, x] = sirens(weights, "decoder.motion", given)
    most = 1 - 1e-6
    for y, x in np.ndindex(height, width):
        ends = []
        for u, v in flows[:, y, x].reshape(2, 2):
            there = -1 + 2 * (x + u) / (width - 1), -1 + 2 * (y + v) / (height - 1)
            ends.append([min(max(coordinate, -most), most) for coordinate in there])
        given = np.concatenate([*(zeros_around(each, *end) for each in (content, maps, large) for end in ends), [time]])
        frame[:, y, x] = sirens(weights, "decoder.colour", given)
    return frame


@pytest.fixture(scope="module")
def small() -> VideoINR:
    """A small network, with weights that let pixels look some way off."""
    torch.manual_seed(0)
    model = VideoINR(4, 2, front=1, trunk=1).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
        model.get_parameter("decoder.motion.layers.3.weight").mul_(40)
    return model


@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "training"), [((8, 16), False), ((8, 16), True), ((10, 20), False), ((12, 21), False)]
)
@torch.no_grad()
def test_decoding_is_the_loop(small: VideoINR, size: tuple[int, int], training: bool) -> None:
    """In double precision: sines of large sums make much of rounding."""
    model = copy.deepcopy(small).double().train(training)
    first, second = (random(1, 3, 4, 8, seed=seed).double().sigmoid() for seed in range(2))
    rgb = torch.cat([first, second], 1)[0].numpy()
    large = rgb if training else np.stack([reference.resize_plane(plane, 16, 32) for plane in rgb])
    (frame,) = model(first, second, [0.375], *size)
    maps = model.encoder(first, second)[0].numpy()
    expected = decoded(weights_of(model), maps, rgb, large, 0.375, size)
    assert expected.std() > 0.1
    np.testing.assert_allclose(frame[0].numpy(), expected, rtol=1e-7, atol=1e-7)


@torch.inference_mode()
def test_padding_is_zeros_below_and_to_the_right(small: VideoINR) -> None:
    first, second = random(1, 3, 7, 10).sigmoid(), random(1, 3, 7, 10, seed=1).sigmoid()
    padded = (F.pad(each, (0, 2, 0, 1)) for each in (first, second))
    for whole, frame in zip(small(*padded, [0, 1], 16, 24), small(first, second, [0, 1], 14, 20), strict=True):
        torch.testing.assert_close(frame, whole[..., :14, :20], rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(("band", "slab", "slabs"), [(64, 1, 1), (64, 1, 2), (200, 2, 2), (1, 3, 1)])
@torch.inference_mode()
def test_frames_in_bands_are_those_in_one(
    small: VideoINR, monkeypatch: pytest.MonkeyPatch, band: int, slab: int, slabs: int
) -> None:
    features = small.encode(random(1, 3, 9, 14).sigmoid(), random(1, 3, 9, 14, seed=1).sigmoid())
    whole = next(small.decode(features, [0.5], 27, 40))
    for name, value in (("BAND", band), ("SLAB", slab), ("SLABS", slabs)):
        monkeypatch.setattr(_decoder, name, value)
    seen: list[int] = []
    hooks = [
        part.register_forward_pre_hook(lambda _, given: seen.append(given[0].shape[2] * given[0].shape[3]))
        for part in small.decoder.children()
    ]
    parts = next(small.decode(features, [0.5], 27, 40))
    for hook in hooks:
        hook.remove()
    # A row of the whole output with its padding has 46 pixels.
    assert max(seen) <= max(band, 46)
    torch.testing.assert_close(parts, whole, rtol=1e-3, atol=1e-4)


def test_slabs_are_let_go_with_the_frame() -> None:
    """At once: the next frame has some of its own, and two sets of them might be too many."""
    made: list[weakref.ref[Tensor]] = []

    def compute(begin: int, end: int) -> Tensor:
        rows = torch.zeros(1, 2, end - begin, 5)
        made.append(weakref.ref(rows))
        return rows

    gc.disable()
    try:
        slabs = _decoder.Slabs(compute, _decoder.SLAB, 1)
        kept = weakref.ref(slabs.rows(0, 1)._base)
        assert len(made) == _decoder.SLAB
        assert kept() is not None
        del slabs
        assert kept() is None
    finally:
        gc.enable()


@torch.inference_mode()
def test_sines_are_in_single_precision_whatever_the_encoder_is_in(small: VideoINR) -> None:
    first, second = random(1, 3, 8, 12).sigmoid(), random(1, 3, 8, 12, seed=1).sigmoid()
    with torch.autocast("cpu", torch.bfloat16):
        features = small.encode(first, second)
        assert [part.dtype for part in features] == [torch.float32] * 5
        under = next(small.decode(features, [0.5], 16, 24))
    assert under.dtype == torch.float32
    torch.testing.assert_close(under, next(small.decode(features, [0.5], 16, 24)), rtol=0, atol=0)


def test_autocast_ends_with_each_frame(small: VideoINR) -> None:
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        frames = small.decode(small.encode(*random(2, 1, 3, 8, 12).sigmoid().unbind(0)), [0, 1], 8, 12)
        next(frames)
        assert torch.is_autocast_enabled("cpu")


def test_published_names() -> None:
    names = {
        "conv_first.weight": "encoder.first.weight",
        "feature_extraction.4.conv2.bias": "encoder.front.4.conv2.bias",
        "fea_L3_conv1.weight": "encoder.between.pyramid.steps.1.0.weight",
        "pcd_align.L1_fea_conv_2.bias": "encoder.between.ways.1.levels.0.blend.bias",
        "pcd_align.L3_dcnpack_1.conv_offset_mask.weight": "encoder.between.ways.0.levels.2.deform.places.weight",
        "fusion.weight": "encoder.between.join.weight",
        "ConvBLSTM.forward_net.pcd_c.pcd_align.L2_offset_conv3_1.weight": (
            "encoder.lstm.memory.ways.0.levels.1.refine.weight"
        ),
        "ConvBLSTM.forward_net.pcd_h.fusion.bias": "encoder.lstm.hidden.join.bias",
        "ConvBLSTM.forward_net.cell_list.0.conv.weight": "encoder.lstm.gates.weight",
        "ConvBLSTM.conv_1x1.weight": "encoder.lstm.join.weight",
        "recon_trunk.39.conv1.weight": "encoder.trunk.39.conv1.weight",
        "feat_imnet.net.2.linear.bias": "decoder.content.layers.2.bias",
        "flow_imnet.net.3.weight": "decoder.motion.layers.3.weight",
        "encode_imnet.net.0.linear.weight": "decoder.colour.layers.0.weight",
    }
    nothing = torch.zeros(())
    assert list(remap(dict.fromkeys(names, nothing))) == list(names.values())
    assert remap(dict.fromkeys(("upconv1.weight", "HRconv.bias", "conv_last.weight"), nothing)) == {}
    with torch.device("meta"):
        assert set(names.values()) <= VideoINR().state_dict().keys()
