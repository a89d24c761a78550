"""The page in a real browser; without one these tests are skipped."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from flowcli.cli.main import main
from flowcli.flowfile import read_flow, write_flow
from flowcli.pictures import read_picture
from tests.moving import camera, square
from tests.moving import write as write_clip
from tests.view.browser import Page, chromium
from tests.view.looks import noisy

pytestmark = pytest.mark.slow

HEIGHT, WIDTH = 65, 97


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with chromium(tmp_path_factory.mktemp("browser") / "profile") as page:
        yield page


@pytest.fixture
def page(browser: Page) -> Iterator[Page]:
    """The browser's page, which must want nothing from elsewhere and report no error."""
    browser.said.clear()
    yield browser
    assert browser.outside == []
    assert browser.said == []


def view(*arguments: object) -> None:
    assert main(["view", *map(str, arguments), "-q"]) == 0


@pytest.fixture
def flows(tmp_path: Path) -> Path:
    """A folder with three flows that hardly compress, unknown in the upper left corner."""
    return write_flows(tmp_path / "flow", HEIGHT, WIDTH)


def write_flows(folder: Path, height: int, width: int) -> Path:
    folder.mkdir()
    for number in range(3):
        write_flow(folder / f"{number:04d}.flo", noisy(number, height, width))
    return folder


def at(page: Page, x: float, y: float, height: int = HEIGHT, width: int = WIDTH) -> tuple[float, float]:
    """Where a pixel of the frame is in the window."""
    left, top, across, down = page.box("#picture")
    return left + (x + 0.5) / width * across, top + (y + 0.5) / height * down


def cells(page: Page, row: int = 0) -> list[str]:
    """What the table says of a flow: u, v, speed, where it goes."""
    rows = f"document.querySelectorAll('#values tbody tr')[{row}]"
    texts = page.evaluate(f"[...{rows}.querySelectorAll('td')].map((cell) => cell.innerText)")
    return [str(text).replace("\N{MINUS SIGN}", "-") for text in texts]


def place(page: Page) -> tuple[int, int]:
    """The x and y of the pixel whose values are shown."""
    match = re.fullmatch(r"at x (\d+), y (\d+)", page.text("#place"))
    assert match is not None
    return int(match[1]), int(match[2])


def stated(page: Page) -> float:
    """The error that the page states, pixels."""
    match = re.search(r"at most ([\d.]+) px off", page.evaluate("document.getElementById('exact').textContent"))
    assert match is not None
    return float(match[1])


def test_values_under_the_pointer_are_those_of_the_flow(flows: Path, tmp_path: Path, page: Page) -> None:
    view(flows, "-o", tmp_path / "a.html")
    page.open(tmp_path / "a.html")
    assert stated(page) == 0.02
    for number in range(3):
        uv, _ = read_flow(flows / f"{number:04d}.flo")
        for x, y in [(0, 5), (WIDTH - 1, HEIGHT - 1), (50, 31), (7, 60), (5, 0)]:
            page.move(*at(page, x, y))
            assert place(page) == (x, y)
            u, v, speed, goes = cells(page)
            assert (float(u), float(v)) == pytest.approx(tuple(uv[:, y, x]), abs=0.02 + 1e-4)
            assert float(speed) == pytest.approx(np.hypot(*uv[:, y, x]), abs=0.035)
            right, below = map(float, goes.removesuffix(" (outside)").split(", "))
            assert (right, below) == pytest.approx((x + uv[0, y, x], y + uv[1, y, x]), abs=0.08)
            inside = -0.5 <= right <= WIDTH - 0.5 and -0.5 <= below <= HEIGHT - 0.5
            assert goes.endswith("(outside)") != inside
        page.press("ArrowRight")
        page.until(f"shown.number === {min(number + 1, 2)}")


def test_unknown_flow_is_called_so(flows: Path, tmp_path: Path, page: Page) -> None:
    view(flows, "-o", tmp_path / "a.html")
    page.open(tmp_path / "a.html")
    page.move(*at(page, 2, 1))
    assert cells(page)[0] == "unknown"


def test_values_of_a_reduced_page_are_those_of_the_pixels_it_names(tmp_path: Path, page: Page) -> None:
    height, width = 161, 201
    folder = write_flows(tmp_path / "flow", height, width)
    view(folder, "-o", tmp_path / "a.html", "--max-size", "180k")
    page.open(tmp_path / "a.html")
    assert page.evaluate("facts.spacing") == 2
    uv, _ = read_flow(folder / "0000.flo")
    for x, y in [(10, 20), (101, 77), (width - 1, height - 1)]:
        page.move(*at(page, x, y, height, width))
        here = place(page)
        assert max(abs(here[0] - x), abs(here[1] - y)) <= 1
        u, v, *_ = cells(page)
        assert (float(u), float(v)) == pytest.approx(tuple(uv[:, here[1], here[0]]), abs=stated(page) + 1e-4)


def test_a_point_follows_the_flow(tmp_path: Path, page: Page) -> None:
    (tmp_path / "flow").mkdir()
    for number in range(6):
        uv = np.full((2, HEIGHT, WIDTH), 0.0, np.float32)
        uv[0], uv[1] = 2 + number, -1
        write_flow(tmp_path / "flow" / f"{number:04d}.flo", uv)
    view(tmp_path / "flow", "-o", tmp_path / "a.html")
    page.open(tmp_path / "a.html")
    page.press("ArrowRight")
    page.until("shown.number === 1")
    page.click(*at(page, 10, 20))
    # The last flow leads to a frame that is not there.
    page.until("state.points[0].paths[0].length === 5")
    places = page.evaluate("state.points[0].paths[0].map(({x, y}) => [x, y])")
    steps = np.cumsum([[10, 20], *([2 + number, -1] for number in range(1, 5))], axis=0)
    assert np.abs(np.array(places) - steps).max() <= 4 * 0.02
    assert page.text("#points") == "1 point followed from the frame where dropped"
    page.press("c")
    assert page.evaluate("state.points.length") == 0


def test_a_point_goes_on_where_frames_are_left_out(tmp_path: Path, page: Page) -> None:
    (tmp_path / "flow").mkdir()
    for number in range(60):
        write_flow(tmp_path / "flow" / f"{number:04d}.flo", np.full((2, HEIGHT, WIDTH), 0.36, np.float32))
    view(tmp_path / "flow", "-o", tmp_path / "a.html", "--max-size", "50k")
    page.open(tmp_path / "a.html")
    every = page.evaluate("facts.every")
    assert every > 1
    count = page.evaluate("facts.frames.length")
    assert count == -(-60 // every)
    page.click(*at(page, 10, 20))
    page.until(f"state.points[0].paths[0].length === {count}")
    steps = page.evaluate("state.points[0].paths[0].map(({x, y}) => [x - 10, y - 20])")
    assert np.abs(np.array(steps) - 0.36 * every * np.arange(count)[:, None]).max() < 1e-6


def test_keys_plot_and_scale(flows: Path, tmp_path: Path, page: Page) -> None:
    view(flows, "-o", tmp_path / "a.html")
    page.open(tmp_path / "a.html")
    page.press("End")
    page.until("shown.number === 2")
    assert page.text("#number") == "frame 2, 0.08 s"
    page.press("Home")
    page.until("shown.number === 0")
    left, top, width, height = page.box("#plot")
    page.click(left + width / 2, top + height / 2)
    page.until("shown.number === 1")
    before = page.picture()
    page.press("2")
    assert page.evaluate("state.view") == "arrows"
    arrows = page.picture()
    assert arrows != before
    page.press("+")
    assert page.evaluate("state.scale / suited") == pytest.approx(1.15)
    assert page.picture() != arrows
    page.press("0")
    assert page.evaluate("state.scale === suited")
    page.press("d")
    page.press("d")
    page.press("w")
    assert place(page) == (WIDTH // 2 + 1, HEIGHT // 2 - 1)
    page.press(" ")
    page.until("shown.number === 2")
    page.press(" ")
    assert page.evaluate("state.playing") is False


def test_two_models_lie_beside_each_other(tmp_path: Path, page: Page) -> None:
    clip = write_clip(tmp_path / "a.mkv", square(4, side=32, u=3, v=2))
    view(clip, "-o", tmp_path / "a.html", "--model", "dis", "--versus", "farneback")
    page.open(tmp_path / "a.html")
    for name, model in enumerate(("dis", "farneback")):
        assert main(["estimate", str(clip), "-o", str(tmp_path / model), "--model", model, "-q"]) == 0
        uv, _ = read_flow(tmp_path / model / "000000.flo")
        page.move(*at(page, 45, 35, 96, 144))
        u, v, *_ = cells(page, name)
        assert (float(u), float(v)) == pytest.approx(tuple(uv[:, 35, 45]), abs=0.02 + 1e-4)
    assert (page.text("#left"), page.text("#right")) == ("dis", "farneback")
    before = seen(page)
    page.press("]")
    after = seen(page)
    # Only what lies between the two places of the border has changed.
    left, top, width, height = map(round, page.box("#picture"))
    differs = (before != after)[top : top + height, left : left + width]
    changed = np.flatnonzero(differs.any(axis=(0, 2)))
    assert changed.min() / width == pytest.approx(0.5, abs=0.02)
    assert changed.max() / width == pytest.approx(0.55, abs=0.02)


def seen(page: Page) -> np.ndarray:
    """(H, W, 3) uint8: the window."""
    image = cv2.imdecode(np.frombuffer(page.picture(), np.uint8), cv2.IMREAD_COLOR_RGB)
    assert image is not None
    return image


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [320, 360, 1100])
def test_the_page_fits_the_window_and_can_be_read(width: int, dark: bool, tmp_path: Path, page: Page) -> None:
    clip = write_clip(tmp_path / ("a_very_long_name_" * 4 + ".mkv"), camera(3, pan=2))
    view(clip, "-o", tmp_path / "a.html", "--model", "dis", "--versus", "farneback")
    page.open(tmp_path / "a.html", width, 760, dark=dark, phone=width < 1000)
    page.click(*at(page, 140, 5, 96, 144))
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    text, ground = (
        [int(part) for part in re.findall(r"\d+", page.evaluate(f"getComputedStyle(document.body).{name}"))]
        for name in ("color", "backgroundColor")
    )
    assert (sum(ground) < 3 * 64) == dark
    assert contrast(text, ground) > 7
    soft = [int(part) for part in re.findall(r"\d+", page.evaluate("getComputedStyle(byId('legend')).color"))]
    assert contrast(soft, ground) > 4.5
    page.evaluate("byId('theme').click()")
    changed = [int(part) for part in re.findall(r"\d+", page.evaluate("getComputedStyle(document.body).color"))]
    assert changed != text


def contrast(one: list[int], other: list[int]) -> float:
    """Source: WCAG 2.2, contrast ratio."""

    def light(colour: list[int]) -> float:
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (part / 255 for part in colour)]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((light(one), light(other)))
    return (high + 0.05) / (low + 0.05)


def test_colours_are_those_of_flowcli(tmp_path: Path, page: Page) -> None:
    """The middle of each quarter of a flow of four vectors, and of the picture that `flowcli convert` makes of it."""
    uv = np.zeros((2, 64, 96), np.float32)
    uv[:, :32, :48], uv[:, :32, 48:] = [[[4]], [[1]]], [[[-2]], [[3]]]
    uv[:, 32:, 48:] = [[[0]], [[-5]]]
    write_flow(tmp_path / "a.flo", uv)
    view(tmp_path / "a.flo", "-o", tmp_path / "a.html")
    page.open(tmp_path / "a.html")
    scale = page.evaluate("state.scale")
    command = ["convert", tmp_path / "a.flo", "-o", tmp_path / "a.jpg", "--as", "color", "-q", "--max-flow", scale]
    assert main([str(word) for word in command]) == 0
    expected = read_picture(tmp_path / "a.jpg")
    window = seen(page)
    for y, x in [(16, 24), (16, 72), (48, 24), (48, 72)]:
        right, below = at(page, x, y, 64, 96)
        assert np.abs(window[int(below), int(right)].astype(int) - expected[y, x]).max() <= 12
