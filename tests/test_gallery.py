from __future__ import annotations

from typing import get_args

from flowcli.pictures import read_picture
from flowcli.types import Style
from tests import gallery, gallery_between, moving, sample


def test_the_gallery_shows_every_style_and_is_small() -> None:
    assert set(get_args(Style)) - {"side-by-side"} < set(gallery.KINDS)
    rows = len(gallery.KINDS) // gallery.COLUMNS
    height, width = gallery.LABEL + sample.HEIGHT + gallery.GAP, sample.WIDTH + gallery.GAP
    assert read_picture(gallery.PATH).shape == (rows * height, gallery.COLUMNS * width, 3)
    assert gallery.PATH.stat().st_size < 300_000


def test_the_picture_of_made_frames_is_that_of_its_scenes() -> None:
    row = gallery_between.LABEL + moving.HEIGHT
    width = (gallery_between.PARTS + 1) * (moving.WIDTH + gallery_between.GAP)
    assert read_picture(gallery_between.PATH).shape == (len(gallery_between.ROWS) * row, width, 3)
    assert gallery_between.PATH.stat().st_size < 150_000
    assert "](between.jpg)" in gallery_between.PATH.with_name("frame-rates.md").read_text(encoding="utf-8")
