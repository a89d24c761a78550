from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import flowcli
from flowcli.pictures import write_picture
from flowcli.types import Frame
from tests.carry.known import HEIGHT, WIDTH, Scene

SCENE = Scene(pan=1, step=(3, 1), side=25)


@pytest.mark.slow
def test_labels_of_frames_by_their_index() -> None:
    keys = {0: SCENE.mask(0) * 4000, 5: SCENE.mask(5) * 4000}
    found = list(flowcli.propagate((SCENE.frame(index) for index in range(6)), keys, device="cpu"))
    assert [each.frame.index for each in found] == list(range(6))
    assert [each.key for each in found] == [True, False, False, False, False, True]
    for each in found:
        assert each.value is not None
        value = each.value.numpy()
        truth = SCENE.mask(each.frame.index)
        assert set(np.unique(value)) == {0, 4000}
        assert ((value > 0) & truth).sum() / ((value > 0) | truth).sum() > 0.7


def test_a_network_tells_key_frames_and_their_features(tmp_path: Path) -> None:
    for index in range(5):
        write_picture(tmp_path / f"{index}.png", SCENE.frame(index).image)
    asked: list[int] = []

    def network(frame: Frame) -> np.ndarray | None:
        asked.append(frame.index)
        features = np.random.default_rng(frame.index).normal(size=(6, 9, 13)).astype(np.float32)
        return features if frame.index % 4 == 0 else None

    found = list(flowcli.propagate(tmp_path, network, model="dis", stop=5))
    assert asked == list(range(5))
    assert all(each.value is not None and each.value.shape == (6, 9, 13) for each in found)
    for index in (0, 4):
        value, given = found[index].value, network(found[index].frame)
        assert value is not None
        assert given is not None
        assert np.array_equal(value.numpy(), given)


def test_what_does_not_fit_is_an_error() -> None:
    frames = [SCENE.frame(index) for index in range(2)]
    with pytest.raises(flowcli.FlowcliError, match=r"^label 65536 in frame 0$"):
        list(flowcli.propagate(frames, {0: np.full((HEIGHT, WIDTH), 65536)}, model="dis"))
    with pytest.raises(ValueError, match=r"^second, start, stop and every are for sources that are named$"):
        next(flowcli.propagate(frames, {}, stop=3))
    with pytest.raises(flowcli.FlowcliError, match=r"^no frames in the frames that were given$"):
        list(flowcli.propagate([], {}))
