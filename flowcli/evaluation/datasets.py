"""Pairs with ground truth on disk: MPI-Sintel, KITTI 2012 and 2015, Middlebury, FlyingChairs, and one flat layout."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from flowcli.errors import InputError
from flowcli.flowfile import read_flow
from flowcli.pictures import PICTURE_SUFFIXES, read_picture, read_unscaled

_KNOWN = "MPI-Sintel, KITTI 2012 and 2015, Middlebury, FlyingChairs, or PAIR_img1.*, PAIR_img2.*, PAIR_flow.*"
_SINTEL_PASSES = ("albedo", "clean", "final")
_VALIDATION = "2"
"""The mark of validation pairs in FlyingChairs_train_val.txt."""


@dataclass(frozen=True, eq=False)
class Truth:
    """flow: (2, H, W) float32, pixels; valid, occluded: (H, W) bool; `occluded` is None if the dataset does not say."""

    flow: np.ndarray
    valid: np.ndarray
    occluded: np.ndarray | None


@dataclass(frozen=True)
class Example:
    """A pair of pictures with the flow between them, all in files. `group`: the set that it belongs to."""

    group: str
    name: str
    first: Path
    second: Path
    flow: Path
    occluded: Path | None = None
    """A picture, bright where a point of the first frame cannot be seen in the second."""
    invalid: Path | None = None
    """A picture, bright where the flow is invalid."""
    visible: Path | None = None
    """A flow file whose known pixels are those that can be seen in the second frame."""

    def pictures(self) -> tuple[np.ndarray, np.ndarray]:
        """Both frames, (H, W, 3) uint8 RGB. Raises InputError if one cannot be read or their sizes differ."""
        first, second = read_picture(self.first), read_picture(self.second)
        _check_size(self.second, second, self.first, first)
        return first, second

    def truth(self) -> Truth:
        """The flow, and where it counts. Raises InputError if a file cannot be read or their sizes differ."""
        flow, known = read_flow(self.flow)
        valid = np.ones(flow.shape[1:], bool) if known is None else known
        if self.invalid is not None:
            valid = valid & ~_mask(self.invalid, valid)
        occluded = None
        if self.occluded is not None:
            occluded = _mask(self.occluded, valid)
        elif self.visible is not None:
            seen, known = read_flow(self.visible)
            _check_size(self.visible, seen[0], self.flow, valid)
            occluded = np.zeros(valid.shape, bool) if known is None else ~known
        return Truth(flow, valid, occluded)


def find_examples(root: Path) -> list[Example]:
    """Every pair with ground truth under `root`: one dataset, or a folder of several.

    For FlyingChairs only the validation pairs, if the list of them is there. Raises InputError if there is no pair.
    """
    if not root.is_dir():
        raise InputError(f"no such folder: {root}", "give the folder of a dataset")
    found = _layouts(root) or [example for folder in _folders(root) for example in _layouts(folder)]
    if not found:
        raise InputError(f"no pairs with ground truth in {root}", f"known are {_KNOWN}")
    return found


def _layouts(root: Path) -> list[Example]:
    for layout in LAYOUTS:
        if found := list(layout(root)):
            return found
    return []


def _sintel(root: Path) -> Iterator[Example]:
    """training/{clean,final}/SCENE/frame_0001.png, training/flow/SCENE/frame_0001.flo, occlusions, invalid."""
    root = root / "training" if (root / "training").is_dir() else root
    for kind in _SINTEL_PASSES:
        if not (root / kind).is_dir():
            continue
        for flow in sorted(root.glob("flow/*/frame_*.flo")):
            scene, stem = flow.parent.name, flow.stem
            following = f"frame_{int(stem.removeprefix('frame_')) + 1:0{len(stem) - 6}d}"
            yield Example(
                f"sintel {kind}",
                f"{scene}/{stem}",
                root / kind / scene / f"{stem}.png",
                root / kind / scene / f"{following}.png",
                flow,
                _there(root / "occlusions" / scene / f"{stem}.png"),
                _there(root / "invalid" / scene / f"{stem}.png"),
            )


def _kitti(root: Path) -> Iterator[Example]:
    """training/{colored_0,image_0,image_2}/000000_{10,11}.png, training/flow_{occ,noc}/000000_10.png."""
    root = root / "training" if (root / "training").is_dir() else root
    for pictures, year in (("image_2", 2015), ("colored_0", 2012), ("image_0", 2012)):
        if not (root / pictures).is_dir():
            continue
        for flow in sorted((root / "flow_occ").glob("*_10.png")):
            number = flow.stem.removesuffix("_10")
            first, second = (root / pictures / f"{number}_{frame}.png" for frame in (10, 11))
            visible = _there(root / "flow_noc" / flow.name)
            yield Example(f"kitti {year}", number, first, second, flow, visible=visible)
        return


def _middlebury(root: Path) -> Iterator[Example]:
    """other-data/SCENE/frame{10,11}.png, other-gt-flow/SCENE/flow10.flo."""
    for flow in sorted(root.glob("other-gt-flow/*/flow10.flo")):
        folder = root / "other-data" / flow.parent.name
        yield Example("middlebury", flow.parent.name, folder / "frame10.png", folder / "frame11.png", flow)


def _chairs(root: Path) -> Iterator[Example]:
    """data/00001_{img1.ppm,img2.ppm,flow.flo}; FlyingChairs_train_val.txt has a line for each pair: 1 or 2."""
    lists = [folder / "FlyingChairs_train_val.txt" for folder in (root, root / "data")]
    kinds = next((path.read_text(encoding="utf-8").split() for path in lists if path.is_file()), None)
    for flow in sorted(root.glob("data/*_flow.flo")):
        stem = flow.stem.removesuffix("_flow")
        number = int(stem) - 1 if stem.isdecimal() else -1
        if kinds is None or not 0 <= number < len(kinds) or kinds[number] == _VALIDATION:
            first, second = (flow.with_name(f"{stem}_img{each}.ppm") for each in (1, 2))
            yield Example("flyingchairs", stem, first, second, flow)


def _flat(root: Path) -> Iterator[Example]:
    """PAIR_img1.*, PAIR_img2.*, PAIR_flow.*, and PAIR_occ.png, PAIR_invalid.png if known; Sintel's pass comes first."""
    for flow in sorted(path for path in root.glob("*_flow.*") if path.suffix.lower() in (".flo", ".png")):
        stem = flow.stem.removesuffix("_flow")
        kind = stem.split("_")[0]
        yield Example(
            f"{root.name} {kind}" if kind in _SINTEL_PASSES else root.name,
            stem,
            _picture(flow.with_name(f"{stem}_img1")),
            _picture(flow.with_name(f"{stem}_img2")),
            flow,
            _there(flow.with_name(f"{stem}_occ.png")),
            _there(flow.with_name(f"{stem}_invalid.png")),
        )


LAYOUTS: tuple[Callable[[Path], Iterator[Example]], ...] = (_sintel, _kitti, _middlebury, _chairs, _flat)
"""Functions that find the pairs of one dataset's layout in a folder; the first that finds any is used."""


def _folders(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.is_dir())


def _there(path: Path) -> Path | None:
    return path if path.is_file() else None


def _picture(stem: Path) -> Path:
    """The picture file of that name, with any suffix. Raises InputError if there is none."""
    for suffix in PICTURE_SUFFIXES:
        if (path := stem.with_name(stem.name + suffix)).is_file():
            return path
    raise InputError(f"no picture {stem}.*", "a pair is PAIR_img1.*, PAIR_img2.* and PAIR_flow.*")


def _mask(path: Path, like: np.ndarray) -> np.ndarray:
    picture = read_unscaled(path)
    bright: np.ndarray = np.atleast_3d(picture)[..., :3].max(2) > 0
    _check_size(path, bright, path, like)
    return bright


def _check_size(path: Path, picture: np.ndarray, other: Path, wanted: np.ndarray) -> None:
    if picture.shape[:2] != wanted.shape[:2]:
        (height, width), (rows, columns) = picture.shape[:2], wanted.shape[:2]
        raise InputError(f"{path} is {width}x{height}, {other} is {columns}x{rows}", "a pair has one size")
