"""What a network knows, carried with true flow: what it says itself of each frame is known."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from flowcli.carry.agreement import Agreement, compared
from flowcli.carry.features import Runs, Times, carry_network
from flowcli.carry.stream import Carried
from flowcli.engine.schedule import Keys
from flowcli.errors import InputError
from flowcli.nets.convention import Convention
from flowcli.nets.net import Net, Parts, Port, Tensors
from flowcli.nets.outputs import Outputs
from flowcli.types import FlowField, FlowPair, FrameFlows
from tests.carry.known import HEIGHT, WIDTH, Scene


def network(run: Callable[[Tensor], Tensor], head: Callable[[Tensor], Tensor] | None = None) -> Net:
    behind = None if head is None else lambda tensors: (head(*tensors),)
    return Net("net", Convention(), Parts(Port(), lambda image: (run(image),), behind))


def keyed(scene: Scene, count: int, every: int, sides: Keys = "both") -> Iterator[FrameFlows]:
    """The frames with the true flow to the key frames around them: each `every`th, and for both sides the last."""
    frames = [scene.frame(index) for index in range(count)]
    for index, frame in enumerate(frames):
        before, after = index - index % every, min(index - index % every + every, count - 1)
        is_key = index == before or (sides == "both" and index == count - 1)
        places = () if is_key else (before, after) if sides == "both" else (before,)
        pairs = [FlowPair(frame, frames[key], FlowField(scene.flow(index, key)), at=frame) for key in places]
        yield FrameFlows(frame, tuple(pairs))


def run(net: Net, flows: Iterator[FrameFlows], times: Times | None = None) -> list[tuple[Carried[Outputs], Outputs]]:
    found = []
    for each in carry_network(flows, Runs(net, times or Times())):
        assert each.value is not None
        found.append((each, each.value))
    return found


def colours(image: Tensor) -> Tensor:
    return image


def error(scene: Scene, sides: Keys) -> float:
    """Mean difference from the pictures themselves, on frames that are no key frames."""
    found = run(network(colours), keyed(scene, 9, 4, sides))
    truth = [torch.from_numpy(scene.frame(each.frame.index).image).permute(2, 0, 1) / 255 for each, _ in found]
    errors = [
        float((value.tensors[0][0] - own).abs().mean())
        for (each, value), own in zip(found, truth, strict=True)
        if not each.key
    ]
    return float(np.mean(errors))


def test_key_frames_have_the_outputs_of_the_network() -> None:
    scene = Scene(pan=1)
    found = run(network(colours), keyed(scene, 9, 4))
    assert [each.frame.index for each, _ in found if each.key] == [0, 4, 8]
    for each, value in found:
        own = torch.from_numpy(each.frame.image).permute(2, 0, 1)[None] / 255
        assert value.meaning == "picture"
        if each.key:
            assert torch.allclose(value.tensors[0], own, rtol=0, atol=1e-6)


def test_what_does_not_move_stays_bit_by_bit() -> None:
    scene = Scene(pan=0, side=0)
    (_, first), *others = run(network(colours), keyed(scene, 6, 5))
    for each, value in others:
        assert torch.equal(value.tensors[0], first.tensors[0]), each.frame.index


def test_both_key_frames_know_more_than_one() -> None:
    scene = Scene(pan=1, step=(4, 0))
    both, before = error(scene, "both"), error(scene, "before")
    assert both < 0.5 * before
    assert both < 0.01


def test_the_part_behind_the_cut_runs_on_every_frame() -> None:
    half: Callable[[Tensor], Tensor] = lambda image: F.avg_pool2d(image, 2)  # noqa: E731
    heads: list[int] = []

    def head(features: Tensor) -> Tensor:
        heads.append(features.shape[-1])
        return features.mean(1, keepdim=True)

    scene, times = Scene(pan=2, side=0), Times()
    found = run(network(half, head), keyed(scene, 9, 4), times)
    assert heads == [WIDTH // 2] * 9
    assert (times.net.items, times.carry.items, times.head.items) == (3, 6, 9)
    for each, value in found:
        assert value.meaning == "probability"
        own = half(torch.from_numpy(each.frame.image).permute(2, 0, 1)[None] / 255).mean(1, keepdim=True)
        inner = np.s_[..., 8:-8]
        # Two pixels are one cell: what moves an odd number of them lies between cells of a key frame.
        limit = 1e-6 if each.key else 0.02
        assert float((value.tensors[0] - own)[inner].abs().mean()) < limit


def test_whole_numbers_are_classes_and_move_exactly() -> None:
    def label(image: Tensor) -> Tensor:
        return (image[:, 0] * 6).long() * 40

    scene = Scene(pan=3, side=0)
    for each, value in run(network(label), keyed(scene, 7, 3)):
        assert value.meaning == "classes"
        shown = value.shown(Convention(), HEIGHT, WIDTH)
        own = (torch.from_numpy(each.frame.image[..., 0]).float() / 255 * 6).int() * 40
        assert shown.dtype == torch.int32
        assert torch.equal(shown[:, 9:-9], own[:, 9:-9])


def test_what_is_no_map_is_refused() -> None:
    net = network(lambda image: image.mean((2, 3)))
    with pytest.raises(InputError) as caught:
        run(net, keyed(Scene(), 3, 2))
    assert (caught.value.message, caught.value.hint) == (
        "net gives (1, 3), which is no map (1, C, h, w)",
        "cut it elsewhere: --show-splits",
    )


def test_channels_last_are_carried_in_their_own_layout() -> None:
    turned: Callable[[Tensor], Tensors] = lambda image: (image,)  # noqa: E731
    seen: list[tuple[int, ...]] = []

    def head(tensors: Tensors) -> Tensors:
        seen.append(tuple(tensors[0].shape))
        return tensors

    net = Net("net", Convention(), Parts(Port(layout="NHWC"), turned, head, inner="NHWC"))
    for each, value in run(net, keyed(Scene(pan=1), 5, 4)):
        own = torch.from_numpy(each.frame.image).permute(2, 0, 1)[None] / 255
        assert float((value.tensors[0] - own)[..., 5:-5].abs().mean()) < 0.01
    assert seen == [(1, HEIGHT, WIDTH, 3)] * 5


def test_agreement_of_classes_by_hand() -> None:
    agreement = Agreement()
    agreement.add("classes", torch.tensor([[0, 0, 1], [2, 1, 1]]), torch.tensor([[0, 1, 1], [2, 1, 0]]))
    # 0: 1 of 3; 1: 2 of 4; 2: 1 of 1; equal: 4 of 6.
    assert agreement.summary() == pytest.approx({"miou": (1 / 3 + 1 / 2 + 1) / 3, "pixel_accuracy": 4 / 6})


def test_agreement_of_pictures_and_probabilities_by_hand() -> None:
    pictures = Agreement()
    pictures.add("picture", torch.zeros(3, 2, 2), torch.full((3, 2, 2), 0.1))
    assert pictures.summary() == pytest.approx({"psnr": 20.0})
    masks = Agreement()
    masks.add("probability", torch.tensor([[[0.9, 0.6, 0.1]]]), torch.tensor([[[0.8, 0.2, 0.3]]]))
    assert masks.summary() == pytest.approx({"iou": 1 / 2, "pixel_accuracy": 2 / 3})


def test_frames_are_compared_that_are_no_key_frames() -> None:
    calls: list[int] = []

    def counting(image: Tensor) -> Tensor:
        calls.append(1)
        return image

    scene, agreement, net = Scene(pan=0, side=0), Agreement(), network(counting)
    frames = list(compared(carry_network(keyed(scene, 9, 4), Runs(net, Times())), net, agreement, 3, 9))
    assert [each.frame.index for each in frames] == list(range(9))
    assert (agreement.frames, len(calls)) == (3, 3 + 3)
    assert agreement.summary() == {"psnr": None}
