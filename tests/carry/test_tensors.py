from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch

from flowcli.carry.tensors import Arrays, Tensors, as_value
from flowcli.errors import InputError
from flowcli.types import Frame
from tests.carry.known import HEIGHT, WIDTH, Scene, evidence

FRAME = Frame(np.zeros((HEIGHT, WIDTH, 3), np.uint8), 3, Fraction(0))


def test_features_move_by_whole_cells_of_their_own_grid() -> None:
    """A frame of 64x96 with features at a stride of 8: 16 pixels are two cells."""
    scene = Scene(side=0)
    features = torch.from_numpy(np.random.default_rng(0).normal(size=(5, 8, 12)).astype(np.float32))
    flow = torch.zeros(2, 64, 96)
    flow[0] = -16
    carried = Tensors().carry(features, flow, evidence(scene, 1, 0))
    torch.testing.assert_close(carried[:, :, 2:], features[:, :, :-2], rtol=0, atol=1e-5)
    # Beyond the frame its border is repeated.
    torch.testing.assert_close(carried[:, :, :2], features[:, :, :1].expand(5, 8, 2), rtol=0, atol=1e-5)


def test_the_kind_is_told_by_dtype_and_shape() -> None:
    share = torch.full((HEIGHT, WIDTH), 0.25)
    one, other = torch.full((HEIGHT, WIDTH), 4, dtype=torch.int32), torch.full((HEIGHT, WIDTH), 9, dtype=torch.int32)
    assert (Arrays().blend(one, other, share) == 9).all()
    for shape in ((1, HEIGHT, WIDTH), (3, 5, 7)):
        blended = Arrays().blend(torch.ones(shape), torch.zeros(shape), share)
        torch.testing.assert_close(blended, torch.full(shape, 0.25))


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
