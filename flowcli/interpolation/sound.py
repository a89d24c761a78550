"""The sound of a video whose frames are made anew."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from flowcli.interpolation.options import InterpolationOptions
from flowcli.types import StreamInfo

if TYPE_CHECKING:
    from flowcli.video import Soundtrack

Audio = Literal["copy", "stretch", "none"]
"""What becomes of sound: it is copied where the pace stays; made slower with the frames; or left out."""


def find_sound(
    path: Path, info: StreamInfo, options: InterpolationOptions, audio: Audio
) -> tuple[Soundtrack | None, str]:
    """The sound of the input for the videos, or None and why it is left out, "" if there is none or none is wanted."""
    if not info.audio or audio == "none":
        return None, ""
    if not path.is_file():
        return None, "audio is not copied: it is taken from files only"
    if options.times is not None:
        return None, "audio is not copied: --times changes the pace"
    if options.slow is not None and audio != "stretch":
        return None, "audio is not copied: --slow changes the pace; add --audio stretch"
    from flowcli.video import Soundtrack

    return Soundtrack(path, tempo=1 / (options.slow or Fraction(1))), ""
