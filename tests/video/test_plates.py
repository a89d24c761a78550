from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from flowcli.errors import InputError
from flowcli.flowfile import write_flow
from flowcli.flowsource import is_flow
from flowcli.types import Frame
from flowcli.video import open_source
from tests.plates import write_dpx, write_exr

pytest.importorskip("OpenEXR")


def read(*arguments: object, **options: object) -> list[Frame]:
    with open_source(*map(str, arguments), **options) as source:  # type: ignore[arg-type]
        return list(source)


def refusal(*arguments: object) -> tuple[str, str]:
    with pytest.raises(InputError) as caught:
        read(*arguments)
    return caught.value.message, caught.value.hint


def test_linear_light_gets_the_curve_of_a_screen(tmp_path: Path) -> None:
    light = np.array([-1, 0, 0.002, 0.18, 0.5, 1, 7, np.inf, np.nan], np.float32)
    # 18 % and 50 % as tables of sRGB have them; 0.002 lies on the straight part, of slope 12.92.
    shown = np.array([0, 0, 0.02584, 0.461356, 0.735357, 1, 1, 1, 0])
    red = np.broadcast_to(light, (3, 9)).copy()
    grey = np.full_like(red, 0.5)
    for number in (1001, 1002):
        write_exr(tmp_path / f"shot.{number}.exr", {"R": red, "G": grey, "B": grey, "A": grey, "Z": grey})
    frames = read(tmp_path)
    assert [frame.name for frame in frames] == ["shot.1001", "shot.1002"]
    assert frames[0].image.dtype == np.uint8
    np.testing.assert_allclose(frames[0].image[1, :, 0], 255 * shown, atol=0.51)
    (first, _) = read(tmp_path / "shot.%04d.exr", deep=True)
    assert first.image.dtype == np.uint16
    np.testing.assert_allclose(first.image[1, :, 0], 65535 * shown, atol=0.6)
    assert (first.image[..., 1:] == round(65535 * 0.7353569)).all()
    assert not is_flow(str(tmp_path))


def test_layers_and_windows_of_an_exr(tmp_path: Path) -> None:
    one, half = np.ones((2, 3), np.float32), np.full((2, 3), 0.5, np.float16)
    named: dict[str, np.ndarray] = {f"ViewLayer.{layer}.{name}": half for layer in ("AO", "Emit") for name in "RGB"}
    named |= {f"ViewLayer.Combined.{name}": one for name in "RGB"}
    (both, _) = read(write_exr(tmp_path / "a.exr", named), tmp_path / "a.exr")
    assert (both.image == 255).all()
    windows = {
        "dataWindow": (np.array([1, 0], np.int32), np.array([3, 1], np.int32)),
        "displayWindow": (np.array([0, 0], np.int32), np.array([2, 3], np.int32)),
    }
    (cropped, _) = read(write_exr(tmp_path / "b.exr", {"Y": one}, **windows), tmp_path / "b.exr")
    assert cropped.image.shape == (4, 3, 3)
    assert cropped.image[..., 0].tolist() == [[0, 255, 255], [0, 255, 255], [0, 0, 0], [0, 0, 0]]


def test_what_is_no_plate(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    flow = tmp_path / "flow.exr"
    write_flow(flow, np.zeros((2, 4, 5), np.float32))
    assert refusal(flow) == (f"flow, not a picture: {flow}", "flowcli convert reads it")
    assert is_flow(str(flow))
    depth = write_exr(tmp_path / "z.exr", {"Z": np.ones((2, 3), np.float32)})
    assert refusal(depth) == (
        f"no red, green and blue in {depth}: it has Z",
        "give the picture; flowcli convert reads motion",
    )
    torn = write_exr(tmp_path / "t.exr", dict.fromkeys("RGB", np.random.default_rng(0).random((65, 97), np.float32)))
    data = bytearray(torn.read_bytes())
    data[-2000:] = bytes(2000)
    torn.write_bytes(data)
    assert refusal(torn) == (f"damaged .exr file: {torn}", "get the file again")
    assert capfd.readouterr() == ("", "")
    broken = tmp_path / "b.dpx"
    broken.write_bytes(b"SDPX" + bytes(100))
    message, hint = refusal(broken)
    assert message.startswith(f"not a picture, or a damaged one: {broken}: ")
    assert hint == "get the file again"


def test_a_dpx_keeps_its_ten_bits(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    codes = np.arange(7 * 9 * 3).reshape(7, 9, 3) * 5 % 1024
    write_dpx(tmp_path / "p.0099.dpx", codes)
    write_dpx(tmp_path / "p.0100.dpx", codes)
    one, two = read(tmp_path, deep=True)
    assert (one.name, two.name) == ("p.0099", "p.0100")
    assert one.image.dtype == np.uint16
    # Ten bits in sixteen: the step is 64, and how the last bits are filled is left to the decoder.
    np.testing.assert_allclose(one.image, codes / 1023 * 65535, atol=64)
    assert len(np.unique(one.image)) == len(np.unique(codes))
    (first, _) = read(tmp_path)
    np.testing.assert_allclose(first.image, codes / 1023 * 255, atol=1)
    assert not caplog.text
