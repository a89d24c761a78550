"""Small networks of ONNX, made for tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SEED = 7


def conv(
    name: str, source: str, target: str, channels: tuple[int, int], side: int, stride: int = 1
) -> tuple[onnx.NodeProto, list[onnx.TensorProto]]:
    """A convolution with padding, and its weights: the same for the same name."""
    dice = np.random.default_rng([SEED, *name.encode()])
    weight = dice.normal(0, 0.3, (channels[1], channels[0], side, side)).astype(np.float32)
    bias = dice.normal(0, 0.3, channels[1]).astype(np.float32)
    node = helper.make_node(
        "Conv",
        [source, f"{name}.weight", f"{name}.bias"],
        [target],
        name=name,
        kernel_shape=[side, side],
        strides=[stride, stride],
        pads=[side // 2] * 4,
    )
    return node, [
        numpy_helper.from_array(each, f"{name}.{word}") for each, word in ((weight, "weight"), (bias, "bias"))
    ]


def segmenter(classes: int = 5, size: tuple[int | str, int | str] = ("h", "w"), skip: bool = False) -> onnx.ModelProto:
    """image -> stem (8, 1/2) -> deep (16, 1/4) -> scores (classes, 1/4): convolutions with ReLU between them.

    skip: `scores` get `side`, made of the stem, as well, so that cutting at `deep` alone does not do.
    """
    nodes, weights = [], []
    layers = [
        ("a", "image", "stem_raw", (3, 8), 3, 2),
        ("b", "stem", "deep_raw", (8, 16), 3, 2),
        ("c", "deep", "main" if skip else "scores", (16, classes), 1, 1),
    ]
    if skip:
        layers.append(("d", "stem", "side", (8, classes), 3, 2))
    for name, source, target, channels, side, stride in layers:
        node, own = conv(name, source, target, channels, side, stride)
        nodes.append(node)
        weights += own
        if target.endswith("_raw"):
            nodes.append(helper.make_node("Relu", [target], [target.removesuffix("_raw")]))
    if skip:
        nodes.append(helper.make_node("Add", ["main", "side"], ["scores"]))
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, *size])
    scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, classes, None, None])
    graph = helper.make_graph(nodes, "segmenter", [image], [scores], weights)
    model: onnx.ModelProto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return model


def halved(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same with weights in float16, and with casts at the end of the list of nodes, out of order."""
    made: onnx.ModelProto = onnx.ModelProto.FromString(model.SerializeToString())
    graph = made.graph
    for tensor in graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), tensor.name))
    for node in graph.node:
        node.input[:] = [f"{name}_half" if name == "image" else name for name in node.input]
        node.output[:] = [f"{name}_half" if name == "scores" else name for name in node.output]
    graph.node.append(helper.make_node("Cast", ["scores_half"], ["scores"], to=TensorProto.FLOAT))
    graph.node.append(helper.make_node("Cast", ["image"], ["image_half"], to=TensorProto.FLOAT16))
    return made


def save(model: onnx.ModelProto, path: Path) -> Path:
    onnx.save(model, path)
    return path


def run(model: onnx.ModelProto, image: np.ndarray) -> np.ndarray:
    """The scores that ONNX's own evaluation gives for (1, 3, H, W)."""
    from onnx.reference import ReferenceEvaluator

    (scores,) = ReferenceEvaluator(model).run(None, {"image": image})
    return np.asarray(scores)
