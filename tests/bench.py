"""Mean endpoint error per set on real pairs with ground truth; `python -m tests.bench` prints the table.

The pairs lie beside the repository in ../shared/bench as <set>/<pair>_img1.*, _img2.*, _flow.flo or _flow.png (KITTI),
and for Sintel _invalid.png. OpenCV's Farneback and DIS, on grey pictures, are measured in the same run.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from flowcli.pictures import read_picture

SHARED = Path(__file__).resolve().parents[2] / "shared"
SETS = ("middlebury", "flyingchairs", "sintel clean", "sintel final", "kitti2012")

Method = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Two (H, W, 3) uint8 RGB pictures -> flow (H, W, 2)."""


@dataclass(frozen=True, eq=False)
class Pair:
    name: str
    group: str
    first: np.ndarray
    second: np.ndarray
    flow: np.ndarray
    valid: np.ndarray


def pairs() -> Iterator[Pair]:
    for path in sorted((SHARED / "bench").glob("*/*_flow.*")):
        stem = path.name.removesuffix(path.suffix).removesuffix("_flow")
        group = f"sintel {stem.split('_')[0]}" if path.parent.name == "sintel" else path.parent.name
        first, second = (read_picture(next(path.parent.glob(f"{stem}_img{number}.*"))) for number in (1, 2))
        flow, valid = _truth(path)
        invalid = path.with_name(f"{stem}_invalid.png")
        if invalid.exists():
            valid &= read_picture(invalid).max(2) == 0
        yield Pair(stem, group, first, second, flow, valid)


def _truth(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Flow (H, W, 2) and where it is known; of KITTI's PNGs by the description in its development kit."""
    if path.suffix == ".png":
        stored = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        assert stored is not None
        known, v, u = np.moveaxis(stored.astype(np.float32), 2, 0)
        return np.stack([u - 32768, v - 32768], 2) / 64, known > 0
    flow = cv2.readOpticalFlow(str(path))
    return flow, np.abs(flow).max(2) < 1e9


def _grey(image: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)


def farneback(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    start = np.zeros((*first.shape[:2], 2), np.float32)
    return cv2.calcOpticalFlowFarneback(_grey(first), _grey(second), start, 0.5, 5, 15, 3, 7, 1.5, 0)


def dis(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    # The annotations leave out that None is taken for the flow to start from.
    nothing: Any = None
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(_grey(first), _grey(second), nothing)
    return np.asarray(flow)


def network(model: str, refine: int = 3, precision: str = "auto") -> Method:
    from flowcli import weights
    from flowcli.engine import Engine
    from flowcli.types import Frame

    engine = Engine(weights.load(weights.resolve(model), refine=refine), device="cpu", precision=precision)

    def method(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        frames = (Frame(image, index, Fraction(index)) for index, image in enumerate((first, second)))
        pair = next(engine.pairs(frames))
        return pair.forward.uv.permute(1, 2, 0).cpu().numpy()

    return method


def table(methods: dict[str, Method]) -> dict[str, dict[str, float]]:
    """Mean endpoint error, pixels: method -> set -> number."""
    errors: dict[str, dict[str, list[float]]] = {name: {group: [] for group in SETS} for name in methods}
    for pair in pairs():
        for name, method in methods.items():
            distance = np.linalg.norm(method(pair.first, pair.second) - pair.flow, axis=2)
            errors[name][pair.group].append(float(distance[pair.valid].mean()))
    return {name: {group: float(np.mean(found)) for group, found in groups.items()} for name, groups in errors.items()}


def main(models: list[str]) -> None:
    methods: dict[str, Method] = {"farneback": farneback, "dis medium": dis}
    for model in models:
        methods[model] = network(model)
        methods[f"{model} float32"] = network(model, precision="fp32")
        methods[f"{model} --refine 1"] = network(model, refine=1)
    print(f"{'':28}" + "".join(f"{group:>14}" for group in SETS))
    for name, groups in table(methods).items():
        print(f"{name:28}" + "".join(f"{groups[group]:14.2f}" for group in SETS))


if __name__ == "__main__":
    main(sys.argv[1:] or ["rpwc"])
