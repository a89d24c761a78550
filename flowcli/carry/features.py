"""What a network knows of key frames, carried along the flow to the frames between them, and finished there.

Source: deep feature flow, Zhu et al. 2017, arXiv:1611.07715. Differs from the paper: what comes from the key frame
after a frame is blended in, pixel by pixel, and what is carried is where the network is cut, its outputs if nowhere.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from flowcli.carry.evidence import Look, look_at, weigh
from flowcli.carry.stream import UNSEEN, Carried
from flowcli.geometry import resize_image
from flowcli.nets.net import Net, Tensors
from flowcli.nets.outputs import Meaning, Outputs, as_map, find_meaning, read_outputs
from flowcli.nets.warp import carry_map
from flowcli.pipeline import Stopwatch
from flowcli.types import FlowPair, Frame, FrameFlows


@dataclass(frozen=True, eq=False)
class Times:
    """Seconds that the parts of the work took, and how often they ran."""

    net: Stopwatch = field(default_factory=Stopwatch)
    """The network, or its part before the cut, on key frames."""
    carry: Stopwatch = field(default_factory=Stopwatch)
    head: Stopwatch = field(default_factory=Stopwatch)
    """The part behind the cut, on every frame."""


class Runs:
    """The network, or its part before the cut, on one frame after the other; each run is counted."""

    def __init__(self, net: Net, times: Times) -> None:
        self.net = net
        self.times = times
        self._first: tuple[int, Tensors] | None = None

    def __call__(self, frame: Frame) -> Tensors:
        if self._first is not None and self._first[0] == frame.index:
            return self._first[1]
        with self.times.net.timed():
            return self.net.encode(frame)

    def first(self, frame: Frame) -> Tensors:
        """The same of the first frame, which is asked for once more."""
        self._first = frame.index, self(frame)
        return self._first[1]


@dataclass(frozen=True, eq=False)
class _Key:
    """A key frame: what the network knows of it, as it gave it, and as maps that can be carried."""

    given: Tensors
    maps: Tensors
    look: Look


def carry_network(flows: Iterable[FrameFlows], runs: Runs) -> Iterator[Carried[Outputs]]:
    """Each frame with the network's outputs, in order: its own on key frames, else finished from what was carried.

    flows: as `Keyed` links frames with their key frames; those without links are key frames. Raises InputError if
    what should be carried is no map.
    """
    net, times = runs.net, runs.times
    keys: OrderedDict[int, _Key] = OrderedDict()
    meaning: Meaning | None = None
    for each in flows:
        if each.pairs:
            look = look_at(each.frame, each.pairs[0].forward.uv.device)
            found = [_find(pair.second, keys, runs, look.small.device) for pair in each.pairs]
            with times.carry.timed():
                maps, confidence = _carried(each.pairs, found, look, net)
            given = _as_given(maps, found[0].given, net) if net.cut else maps
        else:
            key = _find(each.frame, keys, runs, torch.device("cpu"))
            given, maps, confidence = key.given, key.maps, torch.ones(key.look.small.shape[1:])
        finished = _finished(net, given, times) if net.cut else given
        if meaning is None:
            meaning = find_meaning(finished, net.convention, net.parts.port.layout, net.name)
        outputs = (
            read_outputs(finished, net.parts.port.layout, meaning, net.name) if net.cut else Outputs(maps, meaning)
        )
        yield Carried(each.frame, outputs, confidence, key=not each.pairs)


def _find(frame: Frame, keys: OrderedDict[int, _Key], runs: Runs, device: torch.device) -> _Key:
    """The key frame, computed when it is first needed; two are kept."""
    if frame.index not in keys:
        given = runs(frame)
        maps = tuple(as_map(each, runs.net.layout, runs.net.name) for each in given)
        keys[frame.index] = _Key(given, maps, look_at(frame, device))
        if len(keys) > 2:
            keys.popitem(last=False)
    return keys[frame.index]


def _finished(net: Net, tensors: Tensors, times: Times) -> Tensors:
    with times.head.timed():
        return net.finish(tensors)


def _carried(pairs: tuple[FlowPair, ...], keys: list[_Key], look: Look, net: Net) -> tuple[Tensors, Tensor]:
    """What the key frames of a frame say of it, (1, C, h, w) each, and how surely."""
    results: list[Tensors] = []
    weights: list[Tensor] = []
    trusts: list[Tensor] = []
    names = net.parts.carried or tuple(map(str, range(len(keys[0].maps))))
    for pair, key in zip(pairs, keys, strict=True):
        flow = pair.forward.known
        evidence = weigh(look, _on(key.look, flow.device), flow)
        moved = (
            carry_map(values.to(flow.device), flow, net.scales.get(name))
            for values, name in zip(key.maps, names, strict=True)
        )
        results.append(tuple(moved))
        trusts.append(evidence.trust)
        weights.append((evidence.trust + UNSEEN) / abs(pair.first.index - pair.second.index))
    blended = results[0]
    total = weights[0]
    for result, weight in zip(results[1:], weights[1:], strict=True):
        total = total + weight
        share = weight / total
        blended = tuple(_mixed(one, other, share) for one, other in zip(blended, result, strict=True))
    return tuple(each.cpu() for each in blended), torch.stack(trusts).amax(0)


def _as_given(maps: Tensors, given: Tensors, net: Net) -> Tensors:
    """The maps in the layout and type in which the network gave them."""
    turned = (each.permute(0, 2, 3, 1).contiguous() if net.layout == "NHWC" else each for each in maps)
    return tuple(each.to(like.dtype) for each, like in zip(turned, given, strict=True))


def _on(look: Look, device: torch.device) -> Look:
    return look if look.small.device == device else Look(look.frame, look.small.to(device), look.cell)


def _mixed(one: Tensor, other: Tensor, share: Tensor) -> Tensor:
    """Both maps as one; share: (h, w) of the other, on any grid. A key frame may know more classes than another."""
    most = max(one.shape[1], other.shape[1])
    one, other = (F.pad(each, (0, 0, 0, 0, 0, most - each.shape[1])) for each in (one, other))
    return one + (other - one) * resize_image(share[None, None], *one.shape[-2:])
