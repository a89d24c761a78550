from __future__ import annotations

from typing import get_args

from flowcli.pictures import read_picture
from flowcli.types import Style
from tests import gallery, sample


def test_the_gallery_shows_every_style_and_is_small() -> None:
    assert set(get_args(Style)) - {"side-by-side"} < set(gallery.KINDS)
    rows = len(gallery.KINDS) // gallery.COLUMNS
    height, width = gallery.LABEL + sample.HEIGHT + gallery.GAP, sample.WIDTH + gallery.GAP
    assert read_picture(gallery.PATH).shape == (rows * height, gallery.COLUMNS * width, 3)
    assert gallery.PATH.stat().st_size < 300_000
