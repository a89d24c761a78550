"""OpenCV. Its import puts an empty entry into LD_LIBRARY_PATH, the current folder: here that does not last.

It learns at its import how large a picture may be; see `flowcli.environment.max_pixels`.
"""

from __future__ import annotations

from flowcli.environment import changed, max_pixels

with changed({"OPENCV_IO_MAX_IMAGE_PIXELS": str(max_pixels())}):
    import cv2 as cv2
