from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from flowcli.evaluation.datasets import Truth, find_examples
from flowcli.evaluation.scores import LABEL, METRICS, Mean, Score, error_picture, evaluate, measure, summarise
from flowcli.flowfile import read_flow
from flowcli.pictures import read_picture
from tests.pairs import HEIGHT, WIDTH, write_pair

REAL = np.array([[[0, 6, 0, 30, 0, 99]], [[0, 8, 20, 0, 100, 99]]], np.float32)
"""True lengths 0, 10, 20, 30, 100; the last pixel is not valid."""
OFF = np.array([[[0, 0, 2, 3, 0, 9]], [[0.5, 0, 0, 4, 4.5, 9]]], np.float32)
"""Errors 0.5, 0, 2, 5, 4.5, less than 5 % of 100, and 12.7 where it does not count."""
TRUTH = Truth(REAL, np.array([[True] * 5 + [False]]), np.array([[False, True, False, True, False, True]]))


def test_every_metric_against_hand_made_numbers() -> None:
    means = {name: (mean.value, mean.pixels) for name, mean in measure(REAL + OFF, TRUTH).items()}
    assert tuple(means) == METRICS
    assert means["EPE"] == pytest.approx((12 / 5, 5))
    assert means["noc"] == pytest.approx((7 / 3, 3))
    assert means["occ"] == (2.5, 2)
    assert means["s0-10"] == (0.5, 1)
    assert means["s10-40"] == pytest.approx((7 / 3, 3))
    assert means["s40+"] == (4.5, 1)
    assert means["Fl"] == pytest.approx((0.2, 5))
    assert means["1px"] == pytest.approx((0.6, 5))
    assert means["3px"] == pytest.approx((0.4, 5))
    assert means["5px"] == (0, 5)
    vectors = [np.stack([*flow.reshape(2, -1)[:, :5], np.ones(5)]) for flow in (REAL, REAL + OFF)]
    norms = [vector / np.linalg.norm(vector, axis=0) for vector in vectors]
    angles = np.degrees(np.arccos(np.clip((norms[0] * norms[1]).sum(0), -1, 1)))
    assert means["AE"] == pytest.approx((angles.mean(), 5), abs=1e-4)


def test_without_a_mask_nobody_knows_what_is_occluded() -> None:
    means = measure(REAL, Truth(REAL, TRUTH.valid, None))
    assert math.isnan(means["noc"].value)
    assert math.isnan(means["occ"].value)
    assert means["EPE"] == Mean(0, 5)


def score(group: str, method: str, epe: tuple[float, int], fast: tuple[float, int], seconds: float) -> Score:
    means = dict.fromkeys(METRICS, Mean(math.nan, 0)) | {"EPE": Mean(*epe), "s40+": Mean(*fast)}
    return Score(method, group, "x", means, seconds)


def test_sets_are_means_over_pixels() -> None:
    nothing = (math.nan, 0)
    scores = [
        score("a", "m", (1.0, 10), (8.0, 1), 1),
        score("b", "m", (7.0, 10), nothing, 5),
        score("a", "n", (2.0, 10), nothing, 1),
        score("a", "m", (3.0, 90), (2.0, 3), 2),
        score("a", "m", (5.0, 10), nothing, 3),
    ]
    first, second, third = summarise(scores)
    assert (first.group, first.method, first.pairs, first.seconds) == ("a", "m", 3, 2)
    assert first.values["EPE"] == pytest.approx((1 * 10 + 3 * 90 + 5 * 10) / 110)
    assert first.values["s40+"] == 3.5
    assert math.isnan(first.values["AE"])
    assert (second.group, third.method) == ("b", "n")


def test_errors_lie_between_those_of_what_is_seen_and_what_is_hidden() -> None:
    def pair(noc: tuple[float, int], occ: tuple[float, int], epe: tuple[float, int]) -> Score:
        means = dict.fromkeys(METRICS, Mean(math.nan, 0))
        named = {"noc": Mean(*noc), "occ": Mean(*occ), "EPE": Mean(*epe)}
        return Score("m", "a", "x", means | named, 1)

    known = [pair((1, 90), (11, 10), (2, 100)), pair((4, 10), (math.nan, 0), (4, 10))]
    (summary,) = summarise(known)
    values = summary.values
    assert values["noc"] == pytest.approx(1.3)
    assert values["occ"] == 11
    assert values["EPE"] == pytest.approx(240 / 110)
    # A pair with small errors whose hidden pixels nobody knows.
    (summary,) = summarise([*known, pair((math.nan, 0), (math.nan, 0), (0.1, 100))])
    assert math.isnan(summary.values["noc"])
    assert math.isnan(summary.values["occ"])
    assert summary.values["EPE"] == pytest.approx(250 / 210)


def test_evaluate_saves_what_one_can_look_at(tmp_path: Path) -> None:
    write_pair(tmp_path / "set", "a", u=3, v=4)
    write_pair(tmp_path / "set", "b", u=0, v=0)
    calls: list[str] = []

    def still(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        calls.append("still")
        return np.zeros((2, *first.shape[:2]), np.float32)

    (tmp_path / "out").mkdir()
    scores = list(evaluate({"still": still}, find_examples(tmp_path / "set"), tmp_path / "out"))
    assert [(each.name, each.means["EPE"].value) for each in scores] == [("a", 5), ("b", 0)]
    assert len(calls) == 3, "once before anything is timed"
    place = tmp_path / "out" / "still" / "set"
    assert sorted(path.name for path in place.iterdir()) == [
        "a.flo", "a_error.png", "a_sheet.png", "b.flo", "b_error.png", "b_sheet.png",
    ]  # fmt: skip
    uv, valid = read_flow(place / "a.flo")
    assert not uv.any()
    assert valid is None
    sheet = read_picture(place / "a_sheet.png")
    assert sheet.shape == (2 * (HEIGHT + LABEL), 2 * WIDTH, 3)
    frame = sheet[LABEL : LABEL + HEIGHT, :WIDTH]
    assert not frame.any(), "the first frame is black"
    estimate = sheet[-HEIGHT:, :WIDTH]
    assert (estimate == 255).all(), "no motion is white"


def test_error_pictures_are_brighter_where_more_is_wrong() -> None:
    errors = np.array([[0, 0.05, 0.3, 1, 5, 29, 300, 5]], np.float32)
    flow = np.stack([errors, np.zeros_like(errors)])
    valid = np.array([[True] * 7 + [False]])
    picture = error_picture(flow, Truth(np.zeros_like(flow), valid, None)).astype(int).sum(2)[0]
    assert picture[0] == picture[1], "below a tenth of a pixel"
    assert (np.diff(picture[1:6]) > 0).all()
    assert picture[5] <= picture[6]
    assert picture[7] == 3 * 96
