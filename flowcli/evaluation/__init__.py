"""Errors of flow, of made frames and of carried masks, measured where the truth is known."""
