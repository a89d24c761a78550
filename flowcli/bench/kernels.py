"""The speed of operators on inputs from networks, compared with plain torch and the limits of the machine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from flowcli import models
from flowcli.bench import Setup, machine, plain, scene
from flowcli.bench.clock import Clock, Spread, by_turns
from flowcli.draw.color import wheel
from flowcli.engine.engine import Engine


def _lookup_flops(first: Tensor, second: Tensor, flow: Tensor, radius: int) -> float:
    # Dot products at the integer positions around a pixel, then blends of neighbours, a + t (b - a), across and down.
    side = 2 * radius + 1
    return 2 * first.numel() * (side + 1) ** 2 + 3 * flow[:, 0].numel() * (side * (side + 1) + side * side)


def _lucas_kanade_flops(first: Tensor, second: Tensor, flow: Tensor, windows: list[int], damping: float) -> float:
    # For a pixel its flow (20), a sample (9), slopes (6), inside (4), products and their sums (12); for a cell the
    # sums of six products over each window, across and down, and what is made of them (25).
    return 51 * first.numel() + flow[:, 0].numel() * sum(12 * (2 * radius + 1) + 25 for radius in windows)


def _deform_conv_flops(features: Tensor, offsets: Tensor, mask: Tensor, weight: Tensor, bias: Tensor) -> float:
    # For a tap of a group where it looks and the weights of four places (20), for each of its channels their sum (7);
    # then the product with the weights.
    taps = weight[0, 0].numel()
    return 20 * mask.numel() + features.numel() * taps * (7 + 2 * len(bias))


FLOPS: dict[str, Callable[..., float]] = {
    "correlation": lambda first, second, radius, dilation: 2 * first.numel() * (2 * radius + 1) ** 2,
    "deform_conv": _deform_conv_flops,
    "lookup_correlation": _lookup_flops,
    "lucas_kanade": _lucas_kanade_flops,
    # A weight: less the highest, exponential, its sum, and its part of u and v.
    "convex_upsample": lambda flow, mask: 7 * mask.numel(),
    # The sigmoid and the tanh are four operations each, on the way from one state to the other there are three.
    "gated_update": lambda hidden, gates: 11 * hidden.numel(),
    "unpack_pixels": lambda pixels, top, left, height, width: 3 * len(pixels) * height * width,
    "unshuffle_pixels": lambda image, factor, dtype: image.numel(),
    # For pixels their brightness (3), sums of it and squares (3), two blends down (6), what is made of them (2). For
    # cells the means around them (20), the deviation (5), and two blends across for each column (6).
    "levelled_brightness": lambda image, cell, least: image[:, 0].numel() * (14 + 25 / cell**2 + 6 / cell),
    # For a pixel its speed (5), its angle (1) and place on the wheel (4); for a channel two blends (4).
    "paint_flow": lambda uv, *_: 22 * uv[0].numel(),
}
"""Floating point operations of each operator for its arguments; a function of one number counts as one operation.

`quantise` is missing: it is measured with the network, as a part of convolutions. So are `cell_means`, `crowded_out`,
`elect`, `sample_labels`, `splat`, `sum_alike` and `warp`, which no network that estimates flow has.
"""
OTHERS = ("pwcnet", "flownetc")
"""Networks that are measured too, since they have other operators; with random weights."""


@dataclass(frozen=True)
class Kernel:
    """The measurement of an operator on tensors of one shape. Seconds are per call."""

    network: str
    """The network that calls it, or `colours` for the drawing of flow."""
    operator: str
    settings: str
    shape: tuple[int, ...]
    dtype: str
    calls: int
    """Number of calls for one batch of pairs."""
    seconds: Spread
    """With cold caches, after other work."""
    again: Spread
    """With warm caches on a CPU: right after two such calls."""
    fallback: Spread
    """Seconds of the plain torch kernel."""
    ratio: float
    """Time of plain torch as a multiple of `seconds`."""
    flops: float
    bytes: int
    """Size of arguments and result."""
    bound: float
    """The least seconds that the machine needs with cold caches."""
    bound_by: Literal["arithmetic", "memory"]
    of_bound: float
    """`bound` over `seconds`; above 1 if the arguments are in a cache."""
    of_bound_again: float


@dataclass(frozen=True)
class Kernels:
    bytes_per_second: float
    """Rate of a large copy."""
    flops_per_second: float
    """Rate of a large float32 matrix product."""
    kernels: list[Kernel]


def measure(setup: Setup) -> Kernels:
    """Measures each operator with each shape in the networks at this size. Raises WeightsError, DeviceError."""
    engine = setup.open_engine()
    calls = [*_recorded(setup, engine), _colours(setup, engine)]
    clock, device = Clock(engine.device), engine.device
    product, copy = machine.multiplication(device), machine.copy(device)
    works: dict[str, Callable[[], object]] = {"product": product.call, "copy": copy.call}
    for number, call in enumerate(calls):
        run = partial(call.function, *call.arguments)
        works |= {f"native {number}": run, f"second {number}": run, f"again {number}": run}
        works[f"torch {number}"] = partial(plain.OPERATORS[call.function], *call.arguments)
    taken = by_turns(works, setup.seconds, clock)
    speed, bandwidth = product.amount / taken["product"].median, copy.amount / taken["copy"].median
    rows = []
    for number, call in enumerate(calls):
        native, again, fallback = (taken[f"{kind} {number}"] for kind in ("native", "again", "torch"))
        rows.append(_row(call, native, again, fallback, speed, bandwidth))
    return Kernels(bandwidth, speed, rows)


@dataclass(frozen=True, eq=False)
class _Call:
    network: str
    function: Any
    arguments: tuple[Any, ...]
    times: int = 1

    @property
    def operator(self) -> str:
        return str(self.function.__name__)

    @property
    def settings(self) -> str:
        names = [argument.name for argument in self.function.default._schema.arguments]
        pairs = zip(names, self.arguments, strict=True)
        return ", ".join(f"{name} {value}" for name, value in pairs if not isinstance(value, Tensor))

    @property
    def tensors(self) -> list[Tensor]:
        return [value for value in self.arguments if isinstance(value, Tensor)]

    @property
    def kind(self) -> object:
        """Equal for calls that take the same time."""
        return self.function, self.settings, *((each.shape, each.dtype) for each in self.tensors)


class _Recorder(TorchFunctionMode):
    """A context that records the arguments of all operators."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, tuple[Any, ...]]] = []

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func in plain.OPERATORS and func.__name__ in FLOPS:
            self.calls.append((func, args))
        return func(*args, **(kwargs or {}))


@torch.inference_mode()
def _recorded(setup: Setup, engine: Engine) -> list[_Call]:
    """The calls of each network, one for each kind."""
    found: list[_Call] = []
    for network, each in _networks(setup, engine):
        count = each.batch
        frames = list(scene.frames(setup.height, setup.width, count + 1))
        # What a pair costs: each frame is unpacked and encoded once, and serves two.
        known = each.model.encode(plain.images(frames[1:], each.model, each.device))
        with _Recorder() as recorder:
            each.model.decode(each.model.encode(plain.images(frames[:count], each.model, each.device)), known)
        calls = [_Call(network, function, arguments) for function, arguments in recorder.calls]
        times = Counter(call.kind for call in calls)
        unique = {call.kind: call for call in calls}
        found += [_Call(network, call.function, call.arguments, times[kind]) for kind, call in unique.items()]
    return found


def _colours(setup: Setup, engine: Engine) -> _Call:
    """The call that paints a flow of the pictures' size."""
    uv = 4 * torch.randn(2, setup.height, setup.width, generator=torch.Generator().manual_seed(0))
    arguments = (uv.to(engine.device), None, wheel(engine.device), 8.0, False)
    return _Call("colours", torch.ops.flowcli.paint_flow, arguments)


def _networks(setup: Setup, engine: Engine) -> Iterator[tuple[str, Engine]]:
    asked = setup.network
    yield asked, engine
    for name in OTHERS:
        if name != asked:
            yield name, Engine(models.create(name), str(engine.device), setup.engine.precision, engine.batch)


def _row(call: _Call, native: Spread, again: Spread, fallback: Spread, speed: float, bandwidth: float) -> Kernel:
    result = call.function(*call.arguments)
    flops = FLOPS[call.operator](*call.arguments)
    size = sum(each.nbytes for each in (*call.tensors, result))
    bound = max(flops / speed, size / bandwidth)
    return Kernel(
        call.network,
        call.operator,
        call.settings,
        tuple(call.tensors[0].shape),
        str(call.tensors[0].dtype).removeprefix("torch."),
        call.times,
        native,
        again,
        fallback,
        fallback.median / native.median,
        flops,
        size,
        bound,
        "arithmetic" if flops / speed >= size / bandwidth else "memory",
        bound / native.median,
        bound / again.median,
    )
