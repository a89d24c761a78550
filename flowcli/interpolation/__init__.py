"""Interpolation: frames at any time, made from the frames before and after it."""
