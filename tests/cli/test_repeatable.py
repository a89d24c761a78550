"""The same command gives the same bits; in int8 and bf16 also whatever the number of frames at once."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from flowcli.cli.main import main
from flowcli.engine.precision import fast_precisions
from flowcli.geometry import resize_image
from flowcli.models.conv import int8_works
from flowcli.pipeline import use_threads
from tests.video import clips

CPU = torch.device("cpu")


def _clip(path: Path) -> Path:
    y, x = np.mgrid[:90, :130]
    frames = [128 + 60 * np.sin((x - 3 * n) / 7) + 60 * np.cos((y - 2 * n) / 9) for n in range(5)]
    return clips.write(path, np.stack([np.repeat(frame[..., None], 3, axis=2) for frame in frames]).astype(np.uint8))


def _flow(folder: Path, clip: Path, *options: str) -> np.ndarray:
    assert main(["estimate", str(clip), "-o", f"{folder}/out.npy", "-y", "-q", *options]) == 0
    return np.asarray(np.load(folder / "out.npy"))


def test_twice_is_the_same(tmp_path: Path) -> None:
    clip = _clip(tmp_path / "a.mkv")
    first = _flow(tmp_path, clip)
    assert np.abs(first).max() > 1
    np.testing.assert_array_equal(_flow(tmp_path, clip), first)


@pytest.mark.slow
@pytest.mark.skipif(
    not int8_works() or torch.backends.cpu.get_cpu_capability() != "AVX512", reason="no AVX-512 with VNNI"
)
@pytest.mark.parametrize("precision", ["int8", "bf16"])
def test_frames_at_once_change_nothing(tmp_path: Path, precision: str) -> None:
    if precision not in fast_precisions(CPU):
        pytest.skip("no bf16")
    clip = _clip(tmp_path / "a.mkv")
    one = _flow(tmp_path, clip, "--precision", precision, "--batch", "1")
    np.testing.assert_array_equal(_flow(tmp_path, clip, "--precision", precision, "--batch", "4"), one)


def test_enlarging_does_not_depend_on_the_threads() -> None:
    image = torch.rand(1, 3, 109, 203, generator=torch.Generator().manual_seed(0))
    image = image.contiguous(memory_format=torch.channels_last)
    before = torch.get_num_threads()
    found = []
    try:
        for count in (1, 2, 3):
            use_threads(count)
            found.append(resize_image(image, 128, 256))
    finally:
        use_threads(before)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


def test_the_manifest_knows_what_decides_the_bits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip = _clip(tmp_path / "a.mkv")
    arguments = ["batch", str(clip), "--out", str(tmp_path / "out"), "-m", "dis", "--as", "flo", "--json", "-q"]
    assert main(arguments) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["arithmetic"].startswith("fp32, 1 at once, cpu with ")
    assert record["arithmetic"].endswith(f" kernels, torch {torch.__version__}")
    stored = (tmp_path / "out" / "manifest.jsonl").read_text().splitlines()[-1]
    assert json.loads(stored)["arithmetic"] == record["arithmetic"]
    # Of another machine it is done all the same.
    path = tmp_path / "out" / "manifest.jsonl"
    path.write_text(path.read_text().replace("fp32, 1 at once", "int8, 4 at once"))
    assert main(arguments) == 0
    assert json.loads(capsys.readouterr().out)["status"] == "skipped"
