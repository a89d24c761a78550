"""Motion vectors and STMaps in OpenEXR, as compositing programs expect them. Needs the package OpenEXR.

A file belongs to a frame: `forward` leads from it to the next frame, `backward` to the one before. All numbers are
float32, in pixels; the rows are stored from the top, but the y axis of these programs points up, so v changes its sign.

    nuke     forward.u, .v and backward.u, .v: to where the pixel is in the next, the previous frame
    fusion   velX, velY (XY Vector) and rvelX, rvelY (XY BackVector): the same
    blender  Vector.X, .Y as backward; .Z, .W from where the pixel will be to where it is: forward, negated
    stmap    R, G: where the pixel is in the next frame, as a fraction of width and height from the lower left corner;
             pixel centres lie at (x + 0.5) / width

Sources: O_VectorGenerator and VectorBlur, learn.foundry.com; Cycles' motion pass, https://projects.blender.org;
"Understanding Image Channels" and "Vector Motion Blur" in the manual of Fusion.
Unknown flow is written as 0. The attribute `flowcli` names the directions that a file really holds.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from flowcli.errors import InputError
from flowcli.flowfile.base import Flow, known
from flowcli.openexr import MARK, Channels, open_channels
from flowcli.stored import need
from flowcli.types import Layout, mark_unknown

_BLENDER_LAYER = "ViewLayer."
"""Layer that the pass is written to; it is read from any layer."""
_CHANNELS = {
    "nuke": {"forward": ("forward.u", "forward.v"), "backward": ("backward.u", "backward.v")},
    "fusion": {"forward": ("velX", "velY"), "backward": ("rvelX", "rvelY")},
    "blender": {"forward": ("Vector.Z", "Vector.W"), "backward": ("Vector.X", "Vector.Y")},
}


@dataclass(frozen=True)
class Motion:
    """The flows that live on one frame."""

    forward: Flow | None
    backward: Flow | None


def read(path: Path) -> Flow:
    """The forward flow, or the backward flow where there is no other."""
    motion = read_motion(path)
    flow = motion.forward or motion.backward
    assert flow is not None
    return flow


def write(path: Path, uv: np.ndarray) -> None:
    write_motion(path, Motion((uv, None), None))


def read_motion(path: Path) -> Motion:
    """The flows in the file, whatever its layout. Raises InputError if there are none."""
    with open_channels(path) as file:
        return _motion(file)


def holds_motion(path: Path) -> bool:
    """Whether the file says that it holds motion, by a mark or by the names of its channels. Raises InputError."""
    with open_channels(path) as file:
        named = any(file.holds(names) for ways in _CHANNELS.values() for names in ways.values())
        return bool(file.said) or named


def write_motion(path: Path, motion: Motion, layout: Layout = "nuke") -> None:
    """Writes both ways: 0 for one that is missing, and where flow is unknown by its mask or as NaN.

    Raises ValueError if both are missing, or for an STMap of both.
    """
    need("OpenEXR", path)
    import OpenEXR

    flows = {"forward": motion.forward, "backward": motion.backward}
    planes = {way: _filled(flow) for way, flow in flows.items() if flow is not None}
    if not planes or (layout == "stmap" and len(planes) > 1):
        raise ValueError(f"{len(planes)} flows for one file of {layout}")
    if layout == "stmap":
        channels = _stmap(*planes.values())
    else:
        turned = {way: _turned(layout, way, uv) for way, uv in planes.items()}
        still = np.zeros_like(next(iter(planes.values())))
        prefix = _BLENDER_LAYER if layout == "blender" else ""
        channels = {
            prefix + name: plane
            for way, names in _CHANNELS[layout].items()
            for name, plane in zip(names, turned.get(way, still), strict=True)
        }
    header = {
        "compression": OpenEXR.ZIPS_COMPRESSION,
        "type": OpenEXR.scanlineimage,
        MARK: " ".join((layout, *planes)),
    }
    buffer = io.BytesIO()
    OpenEXR.File(header, channels).write(buffer)
    path.write_bytes(buffer.getvalue())


def _filled(flow: Flow) -> np.ndarray:
    return np.asarray(np.nan_to_num(mark_unknown(*flow)), np.float32)


def _turned(layout: str, way: str, uv: np.ndarray) -> np.ndarray:
    """u, v with the signs of the layout; a second call undoes it."""
    turned = uv.copy()
    turned[0 if (layout, way) == ("blender", "forward") else 1] *= -1
    return turned


def _stmap(uv: np.ndarray) -> dict[str, np.ndarray]:
    height, width = uv.shape[1:]
    x, y = _centres(height, width)
    red, green = (x + uv[0]) / width, 1 - (y + uv[1]) / height
    return {"R": red.astype(np.float32), "G": green.astype(np.float32), "B": np.zeros((height, width), np.float32)}


def _from_stmap(planes: np.ndarray) -> np.ndarray:
    height, width = planes.shape[1:]
    x, y = _centres(height, width)
    red, green = planes.astype(np.float64)
    return np.stack((red * width - x, (1 - green) * height - y)).astype(np.float32)


def _centres(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    return np.arange(width)[None, :] + 0.5, np.arange(height)[:, None] + 0.5


def _motion(file: Channels) -> Motion:
    flows: dict[str, Flow] = {}
    for layout, ways in _CHANNELS.items():
        for way, names in ways.items():
            if file.holds(names) and (not file.said or way in file.said):
                flows[way] = known(_turned(layout, way, file.planes(names)))
        if flows:
            return Motion(flows.get("forward"), flows.get("backward"))
    if file.holds(("R", "G")):
        flow = known(_from_stmap(file.planes(("R", "G"))))
        return Motion(None, flow) if "backward" in file.said else Motion(flow, None)
    raise InputError(
        f"no motion vectors in {file.path}: it has {' '.join(file.names)}", "known are those of Nuke, Fusion, Blender"
    )
