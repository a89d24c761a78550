from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from flowcli.errors import InputError
from flowcli.evaluation.datasets import Example, find_examples
from tests.pairs import HEIGHT, WIDTH, flow, mask, picture, write_pair


def names(examples: list[Example]) -> list[tuple[str, str]]:
    return [(example.group, example.name) for example in examples]


def test_sintel(tmp_path: Path) -> None:
    root = tmp_path / "MPI-Sintel" / "training"
    for kind, brightness in (("clean", 10), ("final", 20)):
        for number in (1, 2, 3):
            picture(root / kind / "alley_1" / f"frame_{number:04d}.png", brightness + number)
    flow(root / "flow" / "alley_1" / "frame_0001.flo", u=1)
    flow(root / "flow" / "alley_1" / "frame_0002.flo", u=2)
    mask(root / "occlusions" / "alley_1" / "frame_0002.png", slice(0, 5))
    mask(root / "invalid" / "alley_1" / "frame_0002.png", slice(60, HEIGHT))
    examples = find_examples(tmp_path / "MPI-Sintel")
    assert names(examples) == [
        ("sintel clean", "alley_1/frame_0001"),
        ("sintel clean", "alley_1/frame_0002"),
        ("sintel final", "alley_1/frame_0001"),
        ("sintel final", "alley_1/frame_0002"),
    ]
    assert find_examples(root) == examples
    first, second = examples[3].pictures()
    assert (first[0, 0, 0], second[0, 0, 0]) == (22, 23)
    truth = examples[3].truth()
    assert truth.flow[0, 0, 0] == 2
    assert truth.occluded is not None
    assert truth.occluded[:5].all()
    assert not truth.occluded[5:].any()
    assert truth.valid[:60].all()
    assert not truth.valid[60:].any()
    assert examples[2].truth().occluded is None


@pytest.mark.parametrize(("folder", "group"), [("image_2", "kitti 2015"), ("colored_0", "kitti 2012")])
def test_kitti(tmp_path: Path, folder: str, group: str) -> None:
    root = tmp_path / "training"
    picture(root / folder / "000007_10.png", 1)
    picture(root / folder / "000007_11.png", 2)
    flow(root / "flow_occ" / "000007_10.png", u=-2.5, unknown=3)
    flow(root / "flow_noc" / "000007_10.png", u=-2.5, unknown=10)
    (example,) = find_examples(tmp_path)
    assert (example.group, example.name) == (group, "000007")
    assert [int(image[0, 0, 0]) for image in example.pictures()] == [1, 2]
    truth = example.truth()
    assert truth.flow[:, 20, 20].tolist() == [-2.5, 4]
    assert truth.valid.sum() == (HEIGHT - 3) * WIDTH
    assert truth.occluded is not None
    assert (truth.valid & truth.occluded).sum() == 7 * WIDTH


def test_middlebury(tmp_path: Path) -> None:
    picture(tmp_path / "other-data" / "Venus" / "frame10.png", 1)
    picture(tmp_path / "other-data" / "Venus" / "frame11.png", 2)
    flow(tmp_path / "other-gt-flow" / "Venus" / "flow10.flo", unknown=2)
    (example,) = find_examples(tmp_path)
    assert (example.group, example.name) == ("middlebury", "Venus")
    assert [int(image[0, 0, 0]) for image in example.pictures()] == [1, 2]
    assert example.truth().valid.sum() == (HEIGHT - 2) * WIDTH


def test_flyingchairs_takes_the_pairs_that_are_not_for_training(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        for frame in (1, 2):
            picture(tmp_path / "data" / f"{number:05d}_img{frame}.ppm", frame)
        flow(tmp_path / "data" / f"{number:05d}_flow.flo")
    assert [example.name for example in find_examples(tmp_path)] == ["00001", "00002", "00003"]
    (tmp_path / "FlyingChairs_train_val.txt").write_text("1\n2\n1\n")
    assert names(find_examples(tmp_path)) == [("flyingchairs", "00002")]


def test_flat_folders_and_folders_of_them(tmp_path: Path) -> None:
    write_pair(tmp_path / "street", "b")
    write_pair(tmp_path / "street", "a", brightness=3)
    write_pair(tmp_path / "sintel", "clean_cave_1")
    mask(tmp_path / "sintel" / "clean_cave_1_occ.png", slice(0, 1))
    mask(tmp_path / "sintel" / "clean_cave_1_invalid.png", slice(1, 3))
    examples = find_examples(tmp_path)
    assert names(examples) == [("sintel clean", "clean_cave_1"), ("street", "a"), ("street", "b")]
    assert examples[1].pictures()[1][0, 0, 0] == 3
    truth = examples[0].truth()
    assert truth.occluded is not None
    assert (truth.occluded.sum(), (~truth.valid).sum()) == (WIDTH, 2 * WIDTH)
    assert find_examples(tmp_path / "street") == examples[1:]


def test_nothing_to_find(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        find_examples(tmp_path / "nowhere")
    assert caught.value.message == f"no such folder: {tmp_path / 'nowhere'}"
    picture(tmp_path / "some.png")
    with pytest.raises(InputError) as caught:
        find_examples(tmp_path)
    assert caught.value.message == f"no pairs with ground truth in {tmp_path}"
    assert caught.value.hint.startswith("known are MPI-Sintel, KITTI 2012 and 2015, ")


def test_pairs_that_do_not_fit_together(tmp_path: Path) -> None:
    folder = write_pair(tmp_path / "set", "a")
    (example,) = find_examples(folder)
    picture(folder / "a_img2.ppm", size=(10, 20))
    with pytest.raises(InputError) as caught:
        example.pictures()
    assert caught.value.message == f"{folder / 'a_img2.ppm'} is 20x10, {folder / 'a_img1.png'} is {WIDTH}x{HEIGHT}"
    mask(folder / "a_occ.png", slice(0, 1))
    picture(folder / "a_occ.png", size=(10, 20))
    (example,) = find_examples(folder)
    with pytest.raises(InputError, match=r"a_occ.png is 20x10, "):
        example.truth()
    (folder / "a_img2.ppm").unlink()
    with pytest.raises(InputError, match=r"^no picture .*a_img2\.\*$"):
        find_examples(folder)


@pytest.mark.slow
def test_every_pair_of_the_benchmark_is_found(shared: Path) -> None:
    found = find_examples(shared / "bench")
    sets = [example.group for example in found]
    assert {name: sets.count(name) for name in sets} == {
        "flyingchairs": 6, "kitti2012": 1, "middlebury": 4, "sintel clean": 2, "sintel final": 5,
    }  # fmt: skip
    for example in found:
        first, second = example.pictures()
        truth = example.truth()
        assert first.shape == second.shape == (*truth.valid.shape, 3)
        assert np.isfinite(truth.flow).all()
        assert truth.valid.mean() > 0.15
