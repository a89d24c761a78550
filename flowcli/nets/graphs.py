"""ONNX graphs: sorted, in float32, cut in two, and where that is done well."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnx.utils
from google.protobuf.message import DecodeError
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper

from flowcli.errors import InputError

_WEIGHTS = {
    "Conv": 1,
    "ConvTranspose": 1,
    "ConvInteger": 1,
    "QLinearConv": 3,
    "Gemm": 1,
    "MatMul": 1,
    "QLinearMatMul": 3,
}
"""Operators whose multiply-adds count, and which of their inputs holds the weights."""
MOST_TENSORS = 8
"""Tensors that a cut that is proposed goes through, at most."""
ROWS = 20
"""Parts of the cost, of each of which one cut is proposed."""


@dataclass(frozen=True)
class CutPoint:
    """A place where a network can be cut."""

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    """Of each tensor, (1, C, h, w)."""
    strides: tuple[float, ...]
    """How many rows of the input each of its rows stands for."""
    share: float
    """Of the cost before it, 0 to 1."""


def load_graph(path: Path) -> tuple[ModelProto, bool]:
    """The network in an ONNX file, its nodes in order, with float32 in the place of float16; whether that changed it.

    Raises InputError.
    """
    try:
        model = onnx.load(path)
    except (OSError, DecodeError, ValueError, onnx.checker.ValidationError) as error:
        raise _damaged(path) from error
    if not model.graph.node:
        raise _damaged(path)
    changed = sort_nodes(model, path)
    return model, widen(model) or changed


def _damaged(path: Path) -> InputError:
    return InputError(f"not an ONNX file, or a damaged one: {path}", "export it again")


def inputs(model: ModelProto) -> list[str]:
    """The names of the inputs that are no weights."""
    weights = {each.name for each in model.graph.initializer}
    return [each.name for each in model.graph.input if each.name not in weights]


def sort_nodes(model: ModelProto, path: Path) -> bool:
    """Puts each node behind those that it needs; returns whether that changed anything.

    Raises InputError for a cycle.
    """
    graph = model.graph
    makers = {name: number for number, node in enumerate(graph.node) for name in node.output if name}
    needs = [
        {makers[name] for name in _needed(node) if name in makers} - {number} for number, node in enumerate(graph.node)
    ]
    users: dict[int, list[int]] = {}
    for number, each in enumerate(needs):
        for other in each:
            users.setdefault(other, []).append(number)
    # Lowest numbers first: nodes that are in order stay as they are.
    ready = [number for number, each in enumerate(needs) if not each]
    order: list[int] = []
    while ready:
        number = heapq.heappop(ready)
        order.append(number)
        for user in users.get(number, ()):
            needs[user].discard(number)
            if not needs[user]:
                heapq.heappush(ready, user)
    if len(order) < len(graph.node):
        raise InputError(f"the graph has a cycle: {path}", "export it again")
    if order == sorted(order):
        return False
    nodes = [NodeProto.FromString(graph.node[number].SerializeToString()) for number in order]
    del graph.node[:]
    graph.node.extend(nodes)
    return True


def _needed(node: NodeProto) -> Iterator[str]:
    """The names of the tensors that a node needs, those of its branches and loops included."""
    yield from node.input
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            for each in graph.node:
                yield from _needed(each)


def widen(model: ModelProto) -> bool:
    """Makes float16 float32, which CPUs compute faster; returns whether there was any.

    That is weights, constants, casts, inputs and outputs.
    """
    graph = model.graph
    tensors = [*graph.initializer]
    changed = False
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.name in ("to", "dtype") and attribute.i == TensorProto.FLOAT16:
                attribute.i, changed = TensorProto.FLOAT, True
            if attribute.HasField("t"):
                tensors.append(attribute.t)
    for tensor in tensors:
        if tensor.data_type == TensorProto.FLOAT16:
            values = numpy_helper.to_array(tensor).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
            changed = True
    for value in (*graph.input, *graph.output, *graph.value_info):
        if value.type.tensor_type.elem_type == TensorProto.FLOAT16:
            value.type.tensor_type.elem_type, changed = TensorProto.FLOAT, True
    return changed


def cut(model: ModelProto, split: Sequence[str], outputs: Sequence[str], path: Path) -> tuple[ModelProto, ModelProto]:
    """The part from the inputs to the tensors `split`, and the one from there to `outputs`.

    Raises InputError for names that the graph does not have, and for a split that something goes past.
    """
    made = {name for node in model.graph.node for name in node.output if name}
    for name in split:
        if name not in made:
            raise InputError(f"no tensor {name} in {path}", _offer(cut_points(model, outputs)))
    past = _passing(model, split, outputs)
    if past:
        hint = (
            _offer(cut_points(model, outputs)) if set(past) & set(inputs(model)) else f"try {','.join([*split, *past])}"
        )
        raise InputError(f"--split {','.join(split)} does not cut {path}: {past[0]} goes past it", hint)
    inferred = onnx.shape_inference.infer_shapes(model)
    known = {each.name for each in (*inferred.graph.value_info, *inferred.graph.input, *inferred.graph.output)}
    for name in split:
        if name not in known:
            inferred.graph.value_info.append(onnx.helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    extract = onnx.utils.Extractor(inferred)
    return extract.extract_model(inputs(model), list(split)), extract.extract_model(list(split), list(outputs))


def _offer(points: Iterable[CutPoint]) -> str:
    names = [",".join(each.names) for each in points]
    return f"it can be cut at {' or '.join(names[-3:])}" if names else "--show-splits lists those that can be cut"


def _passing(model: ModelProto, split: Sequence[str], outputs: Sequence[str]) -> list[str]:
    """Tensors before the cut that the part behind it needs as well, so that they would have to be cut, too."""
    before = _moving(model, stop=split)
    behind = _moving(model, split)
    needed = {name for node in _ancestors(model, outputs, split) if behind & set(node.output) for name in _needed(node)}
    return sorted(((needed | set(outputs)) & before) - behind - set(split))


def _ancestors(model: ModelProto, names: Sequence[str], stop: Sequence[str]) -> list[NodeProto]:
    """The nodes that the tensors depend on, not going further than the tensors `stop`."""
    wanted = set(names) - set(stop)
    found = []
    for node in reversed(model.graph.node):
        if wanted & set(node.output):
            found.append(node)
            wanted.update(name for name in _needed(node) if name not in stop)
    return found[::-1]


def _moving(model: ModelProto, start: Sequence[str] | None = None, stop: Sequence[str] = ()) -> set[str]:
    """The tensors that depend on the values of the input, or of the tensors `start`, and not only on their sizes.

    stop: tensors that are not followed.
    """
    moving = set(inputs(model) if start is None else start)
    for node in model.graph.node:
        if node.op_type not in ("Shape", "Size") and (moving - set(stop)) & set(_needed(node)):
            moving.update(node.output)
    return moving


def fix_size(model: ModelProto, height: int, width: int, last: bool = False) -> ModelProto:
    """A copy in which all shapes are known that depend on the size of the input. last: channels come last."""
    fixed = ModelProto.FromString(model.SerializeToString())
    sides = (1, height, width, 3) if last else (1, 3, height, width)
    for value in fixed.graph.input:
        shape = value.type.tensor_type.shape
        if value.name in inputs(model) and len(shape.dim) == len(sides):
            for dim, side in zip(shape.dim, sides, strict=True):
                if not dim.dim_value:
                    dim.dim_value = side
    for value in (*fixed.graph.output, *fixed.graph.value_info):
        value.type.tensor_type.ClearField("shape")
    del fixed.graph.value_info[:]
    return onnx.shape_inference.infer_shapes(fixed, data_prop=True)


def cut_points(model: ModelProto, outputs: Sequence[str], height: int = 512, width: int = 512) -> list[CutPoint]:
    """Good places for a cut, from the input to `outputs`: of each twentieth of the cost the one with least numbers.

    height, width: of the input, where the graph leaves them free.
    """
    fixed = fix_size(model, height, width)
    shapes = _shapes(fixed)
    rows = next((shape[-2] for name, shape in shapes.items() if name in inputs(model) and len(shape) == 4), height)
    moving = _moving(fixed)
    nodes = [node for node in _ancestors(fixed, outputs, ()) if moving & set(node.output)]
    costs = [multiply_adds(node, shapes) for node in nodes]
    last_use = {name: number for number, node in enumerate(nodes) for name in _needed(node)}
    last_use |= dict.fromkeys(outputs, len(nodes))
    total, done = sum(costs) or 1, 0
    live: dict[str, None] = dict.fromkeys(name for name in inputs(fixed) if name in last_use)
    best: dict[int, tuple[int, CutPoint]] = {}
    for number, (node, cost) in enumerate(zip(nodes, costs, strict=True)):
        done += cost
        live |= dict.fromkeys(name for name in node.output if last_use.get(name, -1) > number)
        live = {name: None for name in live if last_use[name] > number}
        if number == len(nodes) - 1 or len(live) > MOST_TENSORS or not done or set(live) & {*inputs(fixed), *outputs}:
            continue
        found = [shapes.get(name, ()) for name in live]
        if not all(len(shape) == 4 and all(shape) for shape in found):
            continue
        point = CutPoint(tuple(live), tuple(found), tuple(rows / shape[2] for shape in found), done / total)
        amount = sum(map(math.prod, found))
        place = min(int(point.share * ROWS), ROWS - 1)
        if place not in best or amount <= best[place][0]:
            best[place] = amount, point
    return [point for _, point in best.values()]


def multiply_adds(node: NodeProto, shapes: dict[str, tuple[int, ...]]) -> int:
    """Of a node whose shapes are known; 0 for operators that are no convolutions or products of matrices."""
    place = _WEIGHTS.get(node.op_type)
    if place is None or len(node.input) <= place:
        return 0
    weight, result = shapes.get(node.input[place], ()), shapes.get(node.output[0], ())
    if not weight or not result:
        return 0
    if node.op_type == "ConvTranspose":
        return math.prod(shapes.get(node.input[0], (0,))) * math.prod(weight[1:])
    if "Conv" in node.op_type:
        return math.prod(result) * math.prod(weight[1:])
    turned = any(each.name == "transB" and each.i for each in node.attribute)
    return math.prod(result) * weight[-1 if turned or len(weight) == 1 else -2]


def _shapes(model: ModelProto) -> dict[str, tuple[int, ...]]:
    values = (*model.graph.value_info, *model.graph.input, *model.graph.output)
    found = {
        value.name: tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)
        for value in values
        if value.type.tensor_type.HasField("shape")
    }
    return found | {each.name: tuple(each.dims) for each in model.graph.initializer}
