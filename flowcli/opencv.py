"""OpenCV. Its import puts an empty entry into LD_LIBRARY_PATH, the current folder: here that does not last."""

from __future__ import annotations

from flowcli.environment import changed

with changed():
    import cv2 as cv2
