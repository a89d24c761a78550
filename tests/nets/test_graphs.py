"""Where ONNX networks can be cut, and what that costs."""

from __future__ import annotations

from pathlib import Path

import pytest

onnx = pytest.importorskip("onnx", reason="needs onnx")

from flowcli.nets.graphs import cut_points, load_graph  # noqa: E402
from tests.nets import small  # noqa: E402


def test_cut_points_have_stride_channels_and_share_of_the_cost() -> None:
    first, second = cut_points(small.segmenter(), ["scores"], 64, 96)
    # Multiply-adds by hand: numbers out x channels in x 3 x 3, or x 1 x 1.
    a, b, c = 8 * 32 * 48 * 3 * 9, 16 * 16 * 24 * 8 * 9, 5 * 16 * 24 * 16
    assert (first.names, first.shapes, first.strides) == (("stem",), ((1, 8, 32, 48),), (2.0,))
    assert first.share == pytest.approx(a / (a + b + c))
    assert (second.names, second.shapes, second.strides) == (("deep",), ((1, 16, 16, 24),), (4.0,))
    assert second.share == pytest.approx((a + b) / (a + b + c))


def test_a_cut_goes_through_all_that_passes() -> None:
    names = [set(point.names) for point in cut_points(small.segmenter(skip=True), ["scores"], 64, 96)]
    assert {"stem"} in names
    assert {"deep"} not in names
    assert {"deep", "stem"} in names or {"deep", "side"} in names or {"main", "side"} in names


def test_nodes_are_put_in_order(tmp_path: Path) -> None:
    model, changed = load_graph(small.save(small.halved(small.segmenter()), tmp_path / "net.onnx"))
    assert changed
    made = {"image", *(each.name for each in model.graph.initializer)}
    for node in model.graph.node:
        assert made.issuperset(node.input)
        made.update(node.output)
    onnx.checker.check_model(model)


def test_a_graph_in_order_stays_as_it_is(tmp_path: Path) -> None:
    model = small.segmenter()
    loaded, changed = load_graph(small.save(model, tmp_path / "net.onnx"))
    assert not changed
    assert loaded == model
