"""Video and picture files, and the pipes that carry video: frames in, frames and flow out."""

from flowcli.video.audio import Soundtrack
from flowcli.video.ffmpeg import ffmpeg_path, ffmpeg_version
from flowcli.video.filters import minterpolate
from flowcli.video.flows import FlowVideo, open_flow_video_sink, open_nut_sink
from flowcli.video.numbering import number_frames, numbered
from flowcli.video.resizing import resize_short_side, resize_to
from flowcli.video.sinks import open_picture_sink, open_video_sink, open_y4m_sink
from flowcli.video.sources import open_source

__all__ = [
    "FlowVideo",
    "Soundtrack",
    "ffmpeg_path",
    "ffmpeg_version",
    "minterpolate",
    "number_frames",
    "numbered",
    "open_flow_video_sink",
    "open_nut_sink",
    "open_picture_sink",
    "open_source",
    "open_video_sink",
    "open_y4m_sink",
    "resize_short_side",
    "resize_to",
]
