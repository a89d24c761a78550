"""VideoINR against the frames of its authors' code, under weights that a formula defines.

The pictures, the formula and the frames lie beside the repository, in ../shared/goldens/videoinr, whose README says how
they were made and how far off each typical mistake lands: the nearest one 9e-4 in the mean.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from flowcli.models.base import Features
from flowcli.models.frame import _alignment, _decoder, _siren, videoinr
from flowcli.models.frame._decoder import Axis
from flowcli.models.frame.published.videoinr import remap
from flowcli.models.frame.videoinr import VideoINR
from flowcli.ops import deform_conv

pytestmark = pytest.mark.slow

TOLERANCE = (1e-4, 2e-3)
"""Mean and largest difference, in units of the range of RGB, that another order of additions may make."""
FEATURES = (1e-5, 1e-4)
FLOW = (1e-3, 1e-2)
"""Pixels of the output."""
SETS = ("real", "synthetic")
HEIGHT, WIDTH = 24, 36

each_set = pytest.mark.parametrize("pictures", SETS)


@pytest.fixture(scope="module")
def goldens(shared: Path) -> Path:
    folder = shared / "goldens" / "videoinr"
    assert folder.is_dir()
    return folder


@pytest.fixture(scope="module")
def arrays(goldens: Path) -> dict[str, np.ndarray]:
    """The formula's weights under their published names."""
    spec = importlib.util.spec_from_file_location("formula", goldens.parent / "formula.py")
    assert spec is not None
    assert spec.loader is not None
    formula: ModuleType = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(formula)
    shapes = dict(json.loads((goldens / "synthetic" / "videoinr.keys.json").read_text()))
    meta = json.loads(str(np.load(goldens / "synthetic" / "videoinr_36x24.npz")["meta"]))
    made: dict[str, np.ndarray] = formula.formula_state_dict(shapes, [tuple(gain) for gain in meta["gains"]])
    digest = hashlib.sha256(b"".join(made[key].tobytes() for key in sorted(made)))
    assert digest.hexdigest() == meta["sha256_of_weights"]
    return made


@pytest.fixture(scope="module")
def model(arrays: dict[str, np.ndarray]) -> VideoINR:
    network = VideoINR().eval()
    network.load_state_dict(remap({key: torch.from_numpy(array) for key, array in arrays.items()}))
    return network


def picture(array: np.ndarray) -> Tensor:
    return torch.from_numpy(array).permute(2, 0, 1)[None].float() / 255


@pytest.fixture(scope="module")
def pairs(goldens: Path) -> dict[str, Any]:
    return {name: np.load(goldens / name / "videoinr_36x24.npz") for name in SETS}


@pytest.fixture(scope="module")
def encoded(model: VideoINR, pairs: dict[str, Any]) -> dict[str, Features]:
    """Each pair, encoded once for all tests."""
    with torch.inference_mode():
        return {
            name: model.encode(picture(golden["first"]), picture(golden["second"])) for name, golden in pairs.items()
        }


@torch.inference_mode()
def decoded(model: VideoINR, features: Features, time: float, height: int, width: int) -> np.ndarray:
    """(height, width, 3)."""
    (frame,) = model.decode(features, [time], height, width)
    return frame[0].permute(1, 2, 0).numpy()


def assert_near(actual: np.ndarray, expected: np.ndarray, tolerance: tuple[float, float]) -> None:
    difference = np.abs(actual - expected)
    assert difference.mean() <= tolerance[0]
    assert difference.max() <= tolerance[1]


@each_set
@torch.inference_mode()
def test_features_are_those_of_the_authors_code(model: VideoINR, pairs: dict[str, Any], pictures: str) -> None:
    golden = pairs[pictures]
    maps = model.encoder(picture(golden["first"]), picture(golden["second"]))
    assert_near(maps.unflatten(1, (3, 64))[0, :, :8].numpy(), golden["features"], FEATURES)


@each_set
@pytest.mark.parametrize("size", ["x1", "x2", "x4", "84x56"])
def test_frames_are_those_of_the_authors_code(
    model: VideoINR, pairs: dict[str, Any], encoded: dict[str, Features], size: str, pictures: str
) -> None:
    golden = pairs[pictures]
    names = [name for name in golden if name.startswith(f"out_{size}_")]
    assert len(names) == (2 if size == "84x56" else 4)
    for name in names:
        expected = golden[name]
        time = int(name.rpartition("_t")[2]) / 100
        assert_near(decoded(model, encoded[pictures], time, *expected.shape[:2]), expected, TOLERANCE)


@each_set
def test_all_times_come_from_one_encoding(
    model: VideoINR, pairs: dict[str, Any], encoded: dict[str, Features], pictures: str
) -> None:
    golden = pairs[pictures]
    times = (0, 25, 50, 100)
    with torch.inference_mode():
        frames = list(model.decode(encoded[pictures], [time / 100 for time in times], 2 * HEIGHT, 2 * WIDTH))
    for time, frame in zip(times, frames, strict=True):
        assert_near(frame[0].permute(1, 2, 0).numpy(), golden[f"out_x2_t{time:03}"], TOLERANCE)


@each_set
def test_what_is_between_is_that_of_the_authors_code(
    model: VideoINR,
    pairs: dict[str, Any],
    encoded: dict[str, Features],
    monkeypatch: pytest.MonkeyPatch,
    pictures: str,
) -> None:
    seen: dict[str, np.ndarray] = {}
    for name in ("content", "motion"):
        part = getattr(model.decoder, name)
        hook = part.register_forward_hook(lambda _, given, out, name=name: seen.update({name: out[0].numpy()}))
        decoded(model, encoded[pictures], 0.5, 2 * HEIGHT, 2 * WIDTH)
        hook.remove()
    assert_near(seen["content"][:8], pairs[pictures]["continuous_x2_t050"], TOLERANCE)
    assert_near(seen["motion"].transpose(1, 2, 0), pairs[pictures]["flow_x2_t050"], FLOW)


@each_set
@torch.inference_mode()
def test_odd_sizes_without_their_padding(model: VideoINR, goldens: Path, pictures: str) -> None:
    golden = np.load(goldens / pictures / "videoinr_35x27.npz")
    features = model.encode(picture(golden["first"]), picture(golden["second"]))
    for factor in (2, 4):
        height, width = 27 * factor, 35 * factor
        expected = golden[f"out_x{factor}_t050"][:height, :width]
        assert_near(decoded(model, features, 0.5, height, width), expected, TOLERANCE)


@each_set
def test_ties_are_decided_in_whole_numbers(
    model: VideoINR, pairs: dict[str, Any], encoded: dict[str, Features], pictures: str
) -> None:
    golden = pairs[pictures]
    assert_near(decoded(model, encoded[pictures], 0.5, 60, 90), golden["halfup_90x60_t050"], TOLERANCE)


@each_set
@pytest.mark.parametrize(("size", "ties"), [("90x60", 18), ("84x56", 0)])
def test_fractional_factors_with_the_nearest_pixels_that_the_authors_code_takes(
    model: VideoINR,
    pairs: dict[str, Any],
    encoded: dict[str, Features],
    monkeypatch: pytest.MonkeyPatch,
    size: str,
    ties: int,
    pictures: str,
) -> None:
    golden, nearest = pairs[pictures], Axis.nearest
    taken = {HEIGHT: golden[f"nearest_rows_{size}"], WIDTH: golden[f"nearest_cols_{size}"]}

    def theirs(axis: Axis, begin: int, end: int, like: Tensor) -> tuple[Tensor, Tensor]:
        index, place = nearest(axis, begin, end, like)
        other = torch.from_numpy(taken[axis.inputs].astype(np.int64))[begin:end]
        # A pixel further to the right is two units of the place inside it further to the left.
        return other, place - 2 * (other - index)

    differ = sum(
        int((nearest(Axis(n, n, len(to)), 0, len(to), torch.zeros(()))[0].numpy() != to).sum())
        for n, to in taken.items()
    )
    assert differ == ties
    monkeypatch.setattr(Axis, "nearest", theirs)
    for time in (25, 50):
        assert_near(
            decoded(model, encoded[pictures], time / 100, *(len(to) for to in taken.values())),
            golden[f"out_{size}_t{time:03}"],
            TOLERANCE,
        )


@pytest.fixture
def training(model: VideoINR) -> Iterator[VideoINR]:
    yield model.train()
    model.eval()


@each_set
def test_in_training_colours_are_those_of_the_input(
    training: VideoINR, pairs: dict[str, Any], encoded: dict[str, Features], pictures: str
) -> None:
    expected = pairs[pictures]["train_x2_t050"]
    assert_near(decoded(training, encoded[pictures], 0.5, 2 * HEIGHT, 2 * WIDTH), expected, TOLERANCE)


def test_deformable_convolution_and_warp_are_those_of_the_authors_code(goldens: Path, device: str) -> None:
    golden = {
        name: torch.from_numpy(np.atleast_1d(array))
        for name, array in np.load(goldens / "ops_videoinr.npz").items()
        if name != "meta"
    }
    maps = (golden[f"deform_{name}"][None].to(device) for name in ("input", "offset", "mask"))
    weights = (golden[f"deform_{name}"].to(device) for name in ("weight", "bias"))
    convolved = deform_conv(*maps, *weights)[0].cpu()
    torch.testing.assert_close(convolved, golden["deform_out"], rtol=0, atol=1e-5)
    columns, rows = Axis(6, 6, 12), Axis(4, 4, 8)
    shares = _decoder.carried(golden["warp_flow"][None], 0, rows, columns)
    warped = _decoder.sampled(golden["warp_source"][None], shares)[0]
    torch.testing.assert_close(warped, golden["warp_out"], rtol=0, atol=1e-5)


def test_number_of_parameters(arrays: dict[str, np.ndarray]) -> None:
    """All of the 442 published tensors but the four layers that nothing reads."""
    with torch.device("meta"):
        own = VideoINR().state_dict()
    unused = [key for key in arrays if key.startswith(("upconv1.", "upconv2.", "HRconv.", "conv_last."))]
    assert (len(arrays), len(own), len(unused)) == (442, 434, 8)
    assert sum(array.size for array in arrays.values()) == 11_312_698
    assert sum(tensor.numel() for tensor in own.values()) == 11_312_698 - 334_083


# What the table of mistakes says is what those mistakes do here: both speak of the same network.

Patch = pytest.MonkeyPatch
Pair = tuple[Tensor, Tensor]


def swap_offsets(patch: Patch) -> None:
    def swapped(features: Tensor, offsets: Tensor, *others: Tensor) -> Tensor:
        return deform_conv(features, offsets.unflatten(1, (-1, 2)).flip(2).flatten(1, 2), *others)

    patch.setattr(_alignment, "deform_conv", swapped)


def sample_borders(patch: Patch) -> None:
    def bordered(image: Tensor, shares: Tensor) -> Tensor:
        sampled: Tensor = F.grid_sample(
            image, (2 * shares - 1).permute(0, 2, 3, 1), padding_mode="border", align_corners=False
        )
        return sampled

    patch.setattr(_decoder, "sampled", bordered)


MISTAKES: dict[str, tuple[Callable[[Pair], Pair], Callable[[Patch], None]]] = {
    "frames exchanged": (lambda pair: (pair[1], pair[0]), lambda patch: None),
    "second frame replaced by the first": (lambda pair: (pair[0], pair[0]), lambda patch: None),
    "BGR instead of RGB": (lambda pair: (pair[0].flip(1), pair[1].flip(1)), lambda patch: None),
    "0..255 instead of 0..1": (lambda pair: (255 * pair[0], 255 * pair[1]), lambda patch: None),
    "omega 20": (lambda pair: pair, lambda patch: patch.setattr(_siren, "OMEGA", 20.0)),
    "LeakyReLU slope 0.2 instead of 0.1": (lambda pair: pair, lambda patch: patch.setattr(_alignment, "SLOPE", 0.2)),
    "warp grid not clamped": (lambda pair: pair, lambda patch: patch.setattr(_decoder, "EDGE", -1e6)),
    "deformable offsets read as (x, y)": (lambda pair: pair, swap_offsets),
    "RGB enlarged to the output size instead of 4 times": (
        lambda pair: pair,
        lambda patch: patch.setattr(videoinr, "ENLARGED", 2),
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_as_far_off_as_the_table_says(
    model: VideoINR, pairs: dict[str, Any], goldens: Path, monkeypatch: Patch, mistake: str
) -> None:
    table = json.loads((goldens / "distances.json").read_text())
    golden = pairs["real"]
    given, patch = MISTAKES[mistake]
    patch(monkeypatch)
    with torch.inference_mode():
        features = model.encode(*given((picture(golden["first"]), picture(golden["second"]))))
    wrong = decoded(model, features, 0.5, 2 * HEIGHT, 2 * WIDTH)
    distance = np.abs(wrong - golden["out_x2_t050"]).mean()
    assert distance == pytest.approx(table["real"]["36x24"][mistake]["mean"], rel=0.02)
    assert distance > 8 * TOLERANCE[0]


@pytest.mark.parametrize("size", ["36x24", "35x27"])
@each_set
def test_every_mistake_is_far_beyond_the_tolerance(goldens: Path, pictures: str, size: str) -> None:
    table = json.loads((goldens / "distances.json").read_text())[pictures][size]
    assert len(table) == {"36x24": 55, "35x27": 6}[size]
    near = {mistake for mistake, distance in table.items() if distance["mean"] < 8 * TOLERANCE[0]}
    assert near == set()
