"""Looks for a page, and the page read back."""

from __future__ import annotations

import json
import re
from base64 import b64decode
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch

from flowcli.types import FlowField, FlowPair, Frame, StreamInfo
from flowcli.view.looks import Look
from flowcli.view.page import Subject

HEIGHT, WIDTH = 65, 97


def frame(number: int, height: int = HEIGHT, width: int = WIDTH, *, cut: bool = False) -> Frame:
    """A smooth picture that moves a little."""
    y, x = np.mgrid[:height, :width]
    image = np.stack([128 + 90 * np.sin((x + number) / 9), 128 + 90 * np.cos(y / 7), x * 255 / width], axis=-1)
    return Frame(image.astype(np.uint8), number, Fraction(number, 25), cut=cut)


def pair(number: int, uv: np.ndarray) -> FlowPair:
    first = frame(number, *uv.shape[1:])
    second = frame(number + 1, *uv.shape[1:])
    return FlowPair(first, second, FlowField(torch.from_numpy(uv.astype(np.float32))), at=first)


def noisy(number: int, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """Flow (2, H, W) that hardly compresses, with an unknown corner."""
    uv = np.random.default_rng(number).normal(0, 5, (2, height, width)).astype(np.float32)
    uv[:, :3, :5] = np.nan
    return uv


def look(number: int, height: int = HEIGHT, width: int = WIDTH) -> Look:
    found = pair(number, noisy(number, height, width))
    return Look(found.first, (found,))


def subject(height: int = HEIGHT, width: int = WIDTH, **more: Any) -> Subject:
    return Subject(**{"title": "clip", "names": ("dis",), "info": StreamInfo(height, width, Fraction(25)), **more})


def facts(page: Path) -> dict[str, Any]:
    """What the page knows of itself."""
    match = re.search(r'<script type="application/json" id="facts">(.*?)</script>', page.read_text(encoding="utf-8"))
    assert match is not None
    found: dict[str, Any] = json.loads(match[1])
    return found


def stored(page: Path, name: str) -> bytes | None:
    """The bytes of an element of the page; None if there is none of that name."""
    match = re.search(f'<script type="text/plain" id="{name}">(.*?)</script>', page.read_text(encoding="utf-8"))
    return None if match is None else b64decode(match[1], validate=True)
