"""Folders of empty files."""

from __future__ import annotations

from pathlib import Path


def touch(*names: str) -> None:
    """Makes empty files, and the folders they are in."""
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
