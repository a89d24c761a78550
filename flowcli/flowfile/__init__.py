"""Files of flow vectors, one table of formats: .flo, KITTI's .png, .pfm, .flo5, .npy, .npz, .exr and TSN's .jpg."""

from flowcli.flowfile.arrays import Stack, open_stack
from flowcli.flowfile.base import Flow
from flowcli.flowfile.exr import Motion, holds_motion, read_motion
from flowcli.flowfile.formats import FORMATS, Format, read_flow, write_flow
from flowcli.flowfile.sinks import open_exr_sink, open_flow_sink, open_stack_sink

__all__ = [
    "FORMATS",
    "Flow",
    "Format",
    "Motion",
    "Stack",
    "holds_motion",
    "open_exr_sink",
    "open_flow_sink",
    "open_stack",
    "open_stack_sink",
    "read_flow",
    "read_motion",
    "write_flow",
]
