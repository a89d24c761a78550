from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from flowcli.errors import InputError, UsageError
from flowcli.options import SourceOptions
from flowcli.pictures import write_picture
from flowcli.run import open_input
from flowcli.video import open_source, resize_short_side, resize_to
from tests.video.clips import lavfi


def pictures(folder: Path, height: int, width: int) -> str:
    """A folder of two pictures of squares of 2x2 pixels; each square is grey around its mean."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(2):
        means = rng.integers(20, 236, (height // 2, width // 2), np.uint8)
        image = np.kron(means, np.ones((2, 2), np.uint8)) + np.tile(np.array([[0, 4], [8, 12]], np.uint8), means.shape)
        write_picture(folder / f"{number}.png", np.repeat(image[..., None], 3, axis=2))
    return str(folder)


def means(image: np.ndarray) -> np.ndarray:
    height, width = image.shape[:2]
    found: np.ndarray = image.reshape(height // 2, 2, width // 2, 2, 3).mean(axis=(1, 3))
    return found


def test_half_the_size_is_the_mean_of_four_pixels(tmp_path: Path) -> None:
    name = pictures(tmp_path / "in", 130, 194)
    with open_source(name) as whole, open_input(SourceOptions(name, resize=(97, 65))) as half:
        assert (half.info.height, half.info.width, half.info.frames, half.info.aspect) == (65, 97, 2, Fraction(1))
        for one, other in zip(whole, half, strict=True):
            assert (one.index, one.time, one.name) == (other.index, other.time, other.name)
            np.testing.assert_array_equal(other.image, means(one.image))


@pytest.mark.parametrize(
    ("height", "width", "side", "size"),
    [(130, 194, 65, (65, 97)), (194, 130, 65, (97, 65)), (64, 100, 33, (33, 52)), (20, 30, 40, (40, 60))],
)
def test_the_short_side(tmp_path: Path, height: int, width: int, side: int, size: tuple[int, int]) -> None:
    with open_input(SourceOptions(pictures(tmp_path / "in", height, width), short_side=side)) as source:
        assert (source.info.height, source.info.width) == size
        assert source.info.aspect == 1
        assert {frame.image.shape for frame in source} == {(*size, 3)}


def test_a_changed_shape_is_shown_as_before(tmp_path: Path) -> None:
    """Also of a video; 3:2 in squares has pixels of 3:2 then."""
    path = lavfi(tmp_path / "a.mkv", "testsrc=size=96x64:rate=10:duration=0.2", "-c:v", "ffv1")
    with resize_to(open_source(str(path)), 40, 40) as source:
        assert source.info.aspect == Fraction(3, 2)
        assert {frame.image.shape for frame in source} == {(40, 40, 3)}
        assert source.damage == ""


def test_no_more_pixels_than_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = pictures(tmp_path / "in", 10, 20)
    monkeypatch.setenv("FLOWCLI_MAX_PIXELS", "20000")
    with pytest.raises(InputError, match=r"^202x101 are too many pixels$"):
        resize_short_side(open_source(name), 101)


def test_what_contradicts_each_other() -> None:
    with pytest.raises(UsageError, match=r"^--short-side and --resize contradict each other$"):
        SourceOptions(short_side=5, resize=(5, 5))
    with pytest.raises(UsageError, match=r"^--sample-fps and --every contradict each other$"):
        SourceOptions(sample_fps=Fraction(5), every=2)
