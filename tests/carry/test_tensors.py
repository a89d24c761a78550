from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch

from flowcli.carry.stream import carry
from flowcli.carry.tensors import Arrays, Known, SettlingArrays, as_known, as_value
from flowcli.errors import InputError
from flowcli.types import Frame
from tests.carry.known import HEIGHT, WIDTH, Scene, carried_labels, evidence, keys, labels, linked

FRAME = Frame(np.zeros((HEIGHT, WIDTH, 3), np.uint8), 3, Fraction(0))


def test_features_move_by_whole_cells_of_their_own_grid() -> None:
    """A frame of 64x96 with features at a stride of 8: 16 pixels are two cells."""
    scene = Scene(side=0)
    features = torch.from_numpy(np.random.default_rng(0).normal(size=(5, 8, 12)).astype(np.float32))
    flow = torch.zeros(2, 64, 96)
    flow[0] = -16
    frame = Frame(np.zeros((64, 96, 3), np.uint8), 0, Fraction(0))
    key = as_known({"features": features.numpy()}, frame, torch.device("cpu"))
    carried = Arrays().carry(key, flow, evidence(scene, 1, 0)).arrays()["features"]
    torch.testing.assert_close(carried[:, :, 2:], features[:, :, :-2], rtol=0, atol=1e-5)
    # Beyond the frame its border is repeated.
    torch.testing.assert_close(carried[:, :, :2], features[:, :, :1].expand(5, 8, 2), rtol=0, atol=1e-5)


def known(**arrays: np.ndarray) -> Known:
    return as_known(arrays, FRAME, torch.device("cpu"))


def test_tensors_are_blended_by_share() -> None:
    share = torch.full((HEIGHT, WIDTH), 0.25)
    shapes = {"features": (3, 5, 7)}
    one, other = (known(**{name: np.full(shape, value) for name, shape in shapes.items()}) for value in (1.0, 0.0))
    blended = Arrays().blend(one, other, share).arrays()
    torch.testing.assert_close(blended["features"], torch.full((3, 5, 7), 0.25))


def test_maps_are_carried_as_they_are_alone_and_settled_by_name() -> None:
    scene = Scene(step=(4, 0))
    flows = list(linked(scene, 6, both=True))

    def key(frame: Frame) -> Known | None:
        if frame.index not in (0, 5):
            return None
        square = labels(scene, frame.index).numpy()
        return as_known({"square": square, "ground": np.where(square == 0, 3, 0)}, frame, torch.device("cpu"))

    alone = carried_labels(flows, keys(scene, 0, 5))
    for one, both in zip(alone, map(SettlingArrays(), carry(flows, key, Arrays())), strict=True):
        assert one.value is not None
        assert both.value is not None
        arrays = both.value.arrays()
        assert torch.equal(arrays["square"], one.value)
        assert torch.equal(arrays["ground"] == 0, one.value != 0)
        assert one.confidence is not None
        assert both.confidence is not None
        assert torch.equal(both.confidence, one.confidence)


def test_what_is_known_of_a_key_frame_is_untouched() -> None:
    features = np.random.default_rng(1).normal(size=(4, 9, 13)).astype(np.float32)
    assert np.array_equal(known(features=features).arrays()["features"].numpy(), features)


def test_arrays() -> None:
    labels = np.arange(HEIGHT * WIDTH, dtype=np.uint16).reshape(HEIGHT, WIDTH)
    assert as_value(labels, FRAME).tolist() == labels.tolist()
    assert as_value(labels.astype(np.float64) / 9999, FRAME).shape == (1, HEIGHT, WIDTH)
    assert as_value(np.zeros((7, 3, 4), np.float16), FRAME).dtype == torch.float32


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.full((HEIGHT, WIDTH), 70000), "label 70000 in frame 3"),
        (np.full((HEIGHT, WIDTH), -1), "label -1 in frame 3"),
        (np.zeros((5, 4), bool), f"what is given for frame 3 is 4x5, but the frame is {WIDTH}x{HEIGHT}"),
        (np.zeros((2, 5, 4), np.uint8), "what is given for frame 3 is uint8 (2, 5, 4)"),
        (np.zeros(4, np.float32), "what is given for frame 3 is float32 (4,)"),
    ],
)
def test_arrays_that_do_not_fit(array: np.ndarray, message: str) -> None:
    with pytest.raises(InputError) as caught:
        as_value(array, FRAME)
    assert caught.value.message == message
