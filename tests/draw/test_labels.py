from __future__ import annotations

import numpy as np

from flowcli.draw.labels import cut_out, paint, tint, usual_colours


def test_colours_of_voc() -> None:
    colours = usual_colours()
    # As the devkit's documentation lists them: background, aeroplane, bicycle, bird ... tv monitor.
    known = {0: (0, 0, 0), 1: (128, 0, 0), 2: (0, 128, 0), 3: (128, 128, 0), 8: (64, 0, 0), 20: (0, 64, 128)}
    assert {label: tuple(colours[label].tolist()) for label in known} == known
    assert tuple(colours[255]) == (255, 255, 255)
    assert len(np.unique(colours[:200], axis=0)) == 200
    assert tuple(usual_colours(accent=True)[255]) != (255, 255, 255)


def test_labels_are_painted_over_the_picture() -> None:
    image = np.full((9, 11, 3), 100, np.uint8)
    labels = np.zeros((9, 11), np.int32)
    labels[2:7, 3:8] = 4
    colours = np.zeros((5, 3), np.uint8)
    colours[4] = 200, 0, 100
    painted = paint(image, labels, colours)
    assert np.array_equal(painted[labels == 0], image[labels == 0])
    assert painted[4, 5].tolist() == [150, 50, 100]
    assert painted[2, 5].tolist() == painted[4, 3].tolist() == painted[6, 7].tolist() == [200, 0, 100]
    assert (image == 100).all()


def test_labels_that_touch_have_borders() -> None:
    labels = np.array([[1, 1, 1, 2, 2, 2]] * 3)
    painted = paint(np.zeros((3, 6, 3), np.uint8), labels, np.array([[0, 0, 0], [100, 0, 0], [0, 100, 0]], np.uint8))
    assert painted[1, :, 0].tolist() == [50, 50, 100, 0, 0, 0]
    assert painted[1, :, 1].tolist() == [0, 0, 0, 100, 50, 50]


def test_mattes_are_tinted_and_cut_out() -> None:
    image = np.full((2, 3, 3), 40, np.uint8)
    matte = np.array([[0, 0.5, 1]] * 2)
    tinted = tint(image, matte)
    assert tinted[0, 0].tolist() == [40, 40, 40]
    reds = tinted[0, :, 0].tolist()
    assert reds == sorted(reds)
    assert reds[2] == 140
    alpha = np.array([[0, 7, 255]] * 2, np.uint8)
    cut = cut_out(image, alpha)
    assert np.array_equal(cut[..., 3], alpha)
    assert np.array_equal(cut[..., :3], image)
