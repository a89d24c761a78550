from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from flowcli.cli.main import main
from flowcli.flowfile import read_flow
from flowcli.pictures import read_picture, read_unscaled, write_picture
from flowcli.video import ffmpeg_path
from flowcli.weights import entries
from tests.tiny import DOWN, alive, children, start, write_pictures

CPU = ("--device", "cpu", "--precision", "fp32")


@pytest.fixture(autouse=True)
def _inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: Path) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Five pictures: f0.png of brightness 0 to f4.png of 40."""
    return write_pictures(tmp_path / "in", 5)


def ffmpeg(*arguments: str) -> bytes:
    command = [str(ffmpeg_path()), "-v", "error", "-nostdin", "-y", *arguments]
    return subprocess.run(command, capture_output=True, check=True, timeout=60).stdout


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """12 frames of 64x48 with sound."""
    path = tmp_path / "clip.mkv"
    sources = ("-f", "lavfi", "-i", "testsrc=size=64x48:rate=10:duration=1.2", "-f", "lavfi", "-i", "sine=duration=1.2")
    ffmpeg(*sources, "-c:v", "ffv1", "-c:a", "flac", str(path))
    return path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def frame_count(path: Path) -> int:
    raw = ffmpeg("-i", str(path), "-fps_mode", "passthrough", "-f", "framemd5", "-")
    return sum(not line.startswith(b"#") for line in raw.splitlines())


def check_flow(path: Path, u: float, v: float = DOWN) -> None:
    uv, valid = read_flow(path)
    assert valid is None
    np.testing.assert_allclose(uv[0], u, atol=1 / 64)
    np.testing.assert_allclose(uv[1], v, atol=1 / 64)


def test_pair_of_pictures(pictures: Path, tmp_path: Path) -> None:
    pair = (str(pictures / "f1.png"), str(pictures / "f3.png"))
    outs = ("-o", "ab.flo", "-o", "kitti.png", "-o", "ab.jpg", "--as", "flo", "--as", "flow", "--as", "color")
    assert main(["estimate", *pair, *outs, *CPU, "--both"]) == 0
    check_flow(Path("ab.flo"), 20)
    check_flow(Path("ab_bwd.flo"), -20)
    check_flow(Path("kitti.png"), 20)
    assert read_picture(Path("ab.jpg")).shape == (13, 18, 3)
    expected = [name.format(tag) for name in ("ab{}.flo", "ab{}.jpg", "kitti{}.png") for tag in ("", "_bwd")]
    assert names(tmp_path) == sorted([*expected, "in", "weights"])


def test_folders_carry_the_names_of_the_source(pictures: Path) -> None:
    assert main(["estimate", str(pictures), "-o", "flow", *CPU, "--both", "--refine", "2"]) == 0
    assert names(Path("flow")) == [f"f{index}{tag}.flo" for index in range(4) for tag in ("", "_bwd")]
    check_flow(Path("flow/f2.flo"), 20)
    check_flow(Path("flow/f2_bwd.flo"), -20)


def test_backward_last_and_selection(pictures: Path) -> None:
    selected = ("--start", "1", "--stop", "0.2s", "--every", "2")
    assert main(["estimate", str(pictures), "-o", "a/", *CPU, "--backward", "--last", "repeat", *selected]) == 0
    assert names(Path("a")) == ["f1.flo", "f3.flo"]
    check_flow(Path("a/f1.flo"), -20)
    check_flow(Path("a/f3.flo"), -20)


def test_warped_pictures_with_transparent_holes(pictures: Path) -> None:
    arguments = ("-o", "w/", "--as", "warp", "--holes", "transparent")
    assert main(["estimate", str(pictures), *arguments, *CPU]) == 0
    assert names(Path("w")) == ["f0.png", "f1.png", "f2.png", "f3.png"]
    image = cv2.imread("w/f0.png", cv2.IMREAD_UNCHANGED)
    assert image is not None
    assert image.shape == (13, 18, 4)
    # The flow is 10 pixels to the right and half a pixel down, and the last pixel ends half a pixel beyond its centre.
    seen = np.arange(18) + 10 <= 17.5
    np.testing.assert_array_equal(image[..., 3], np.broadcast_to(255 * seen, (13, 18)))


def test_every_style_in_one_pass(pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    styles = ("wheel", "hsv", "arrows", "magnitude", "overlay", "side-by-side", "trails")
    outs = [word for style in styles for word in ("-o", f"{style}/", "--as", f"{style}.png")]
    assert main(["estimate", str(pictures), *outs, *CPU, "--legend", "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert [output["what"] for output in summary["outputs"]] == list(styles)
    assert all(10 <= output["scale"][0] <= output["scale"][1] <= 11 for output in summary["outputs"])
    drawn = [read_picture(Path(style, "f3.png")) for style in styles]
    assert [image.shape for image in drawn] == [(13, 36 if style == "side-by-side" else 18, 3) for style in styles]
    assert len({image.tobytes() for image in drawn}) == len(styles)
    np.testing.assert_array_equal(drawn[5][:, :18], 30)


def test_style_is_for_what_is_drawn(pictures: Path) -> None:
    drawing = ("--style", "overlay", "--dim", "1", "--percentile", "50")
    outs = ("-o", "a/", "--as", "png", "-o", "b/", "--as", "flo", "-o", "d/", "--as", "side-by-side")
    assert main(["estimate", str(pictures), *outs, *drawing, *CPU]) == 0
    assert main(["estimate", str(pictures), "-o", "c/", "--as", "overlay", *drawing[2:], *CPU]) == 0
    assert names(Path("b")) == [f"f{index}.flo" for index in range(4)]
    for name in names(Path("a")):
        assert Path("a", name).read_bytes() == Path("c", name).read_bytes()
        overlay = read_picture(Path("a", name))
        np.testing.assert_array_equal(read_picture(Path("d", name))[:, overlay.shape[1] :], overlay)


def test_a_second_model_is_drawn_beside_the_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    noise = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8), (0, 0), 2)
    for index in range(3):
        write_picture(tmp_path / f"f{index}.png", np.roll(noise, 2 * index, axis=1))
    common = ("estimate", "f*.png", "--max-flow", "12", *CPU)
    outs = ("-o", "v/", "--as", "png", "-o", "w/", "--as", "warp", "-o", "f/", "--as", "flo")
    assert main([*common, *outs, "--versus", "dis", "--legend", "--json"]) == 0
    out, err = capsys.readouterr()
    assert (json.loads(out)["model"], json.loads(out)["versus"]) == ("rpwc", "dis")
    assert "note: no legend is drawn on w/\n" in err
    assert main([*common, "-o", "one/", "--as", "png", "-o", "g/", "--as", "flo", "-q"]) == 0
    assert main([*common, "-o", "other/", "--as", "png", "-m", "dis", "-q"]) == 0
    for name in ("f0", "f1"):
        drawn, *alone = (read_picture(Path(each, f"{name}.png")) for each in ("v", "one", "other"))
        assert drawn.shape == (48 + 20, 128, 3)
        np.testing.assert_array_equal(drawn[:48, :64], alone[0])
        assert (alone[0] != alone[1]).any()
        # The other half of the second one is below the legend.
        assert (drawn[:48, 64:] == alone[1]).all(axis=2).mean() > 0.5
        assert Path("f", f"{name}.flo").read_bytes() == Path("g", f"{name}.flo").read_bytes()
    assert main([*common, "-o", "x/", "--as", "png", "--versus", "rpwc"]) == 2
    assert capsys.readouterr().err == "error: --versus rpwc is the model itself\nhint: name another one, such as dis\n"


def test_masks(pictures: Path) -> None:
    # 10 pixels to the right and 0.5 down from each picture to the next; 10 to the left and 0.5 down back again.
    warp = ("--as", "warp")
    assert main(["estimate", str(pictures), "-o", "a/", *warp, *CPU, "--occlusion", "o/", "--confidence", "c/"]) == 0
    assert names(Path("o")) == names(Path("c")) == names(Path("a")) == [f"f{index}.png" for index in range(4)]
    for name in names(Path("o")):
        hidden, agreement = read_unscaled(Path("o", name)), read_unscaled(Path("c", name))
        np.testing.assert_array_equal(hidden, np.broadcast_to(255 * (np.arange(18) > 7.5), (13, 18)))
        # f + b is 1 px.
        expected = 255 * 2 ** -(1 / (0.01 * 2 * (10**2 + 0.5**2) + 0.5))
        assert np.abs(agreement[:, :8] - expected).max() <= 1
        assert not agreement[:, 8:].any()
    assert main(["estimate", str(pictures), "-o", "b/", *warp, *CPU]) == 0
    for name in names(Path("a")):
        assert Path("a", name).read_bytes() == Path("b", name).read_bytes(), "with masks beside them or without"


def test_masks_back_in_time(pictures: Path) -> None:
    assert main(["estimate", str(pictures), "-o", "a/", "--occlusion", "o/", "--backward", *CPU]) == 0
    assert names(Path("a")) == [f"f{index}.flo" for index in range(4)]
    check_flow(Path("a/f2.flo"), -10)
    expected = np.broadcast_to(255 * (np.arange(18) < 9.5), (13, 18))
    np.testing.assert_array_equal(read_unscaled(Path("o/f2.png")), expected)
    assert main(["estimate", str(pictures), "--occlusion", "both/", "--both", "--last", "zero", *CPU]) == 0
    assert names(Path("both")) == [f"f{index}{tag}.png" for index in range(5) for tag in ("", "_bwd")]
    np.testing.assert_array_equal(read_unscaled(Path("both/f2_bwd.png")), expected)
    assert not read_unscaled(Path("both/f4.png")).any()


@pytest.mark.slow
def test_masks_as_videos_and_of_one_pair(pictures: Path, clip: Path) -> None:
    assert main(["estimate", str(clip), "--occlusion", "o.mkv", "--confidence", "c.gif", *CPU, "--crf", "0"]) == 0
    assert [frame_count(Path(name)) for name in ("o.mkv", "c.gif")] == [11, 11]
    transparent = ("-o", "w.webm", "--as", "warp", "--holes", "transparent")
    assert main(["estimate", str(clip), *transparent, "--occlusion", "o.webm", *CPU]) == 0
    assert [frame_count(Path(name)) for name in ("w.webm", "o.webm")] == [11, 11]
    pair = (str(pictures / "f0.png"), str(pictures / "f1.png"))
    assert main(["estimate", *pair, "--occlusion", "o.png", "-o", "t.png", "--as", "trails", *CPU]) == 0
    assert read_unscaled(Path("o.png"))[0].tolist() == [0] * 8 + [255] * 10


@pytest.mark.slow
def test_many_outputs_in_one_pass(clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outs = ("-o", "a.mp4", "-o", "b.webm", "-o", "c/", "-o", "d/", "-o", "e.gif")
    kinds = [word for kind in ("color", "warp", "flo", "png", "color") for word in ("--as", kind)]
    assert main(["estimate", str(clip), *outs, *kinds, *CPU, "--max-flow", "8"]) == 0
    out, err = capsys.readouterr()
    assert out == ""
    note, wrote = err.splitlines()
    assert note == "note: audio is not copied: add --audio copy"
    assert wrote.startswith("wrote a.mp4, b.webm, c/, d/, e.gif: 11 flows, 64x48, ")
    assert [frame_count(Path(name)) for name in ("a.mp4", "b.webm", "e.gif")] == [11, 11, 11]
    assert names(Path("c")) == [f"{index:06d}.flo" for index in range(11)]
    assert names(Path("d")) == [f"{index:06d}.png" for index in range(11)]
    done = subprocess.run([ffmpeg_path(), "-i", "a.mp4"], capture_output=True, text=True, check=False)
    assert "flow colours are full at 8 px" in done.stderr


def test_summary(clip: Path, table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["estimate", str(clip), "-o", "a.mp4", "-o", "c", *CPU, "--json", "-q"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    summary = json.loads(out)
    entry = entries.resolve("rpwc")
    assert {key: summary[key] for key in ("frames", "pairs", "width", "height", "device", "precision", "model")} == {
        "frames": 12,
        "pairs": 11,
        "width": 64,
        "height": 48,
        "device": "cpu",
        "precision": "fp32",
        "model": "rpwc",
    }
    assert summary["weights"] == {"short": entry.sha256[:8], "sha256": entry.sha256}
    assert summary["kernel"] in ("native", "fallback")
    assert summary["seconds"] > 0
    assert set(summary["fps"]) == {"decode", "network", "encode"}
    assert all(rate > 0 for rate in summary["fps"].values())
    colour, vectors = summary["outputs"]
    low, high = colour.pop("scale")
    assert 0 < low <= high
    assert colour == {"out": "a.mp4", "what": "color", "format": "mp4", "backward": False}
    assert vectors == {"out": "c/", "what": "flow", "format": "flo", "backward": False, "scale": None}
    assert set(summary["versions"]) == {"flowcli", "python", "torch", "ffmpeg"}


def test_quiet_and_verbose(pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["estimate", str(pictures), "-o", "a", *CPU, "-q"]) == 0
    assert capsys.readouterr() == ("", "")
    assert main(["estimate", str(pictures), "-o", "b", *CPU, "-v"]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[0] for line in lines if not line.startswith("info")] == ["wrote", "frames", "rpwc"]


@pytest.mark.parametrize("name", ["-x.mkv", "a b;c.mkv", "http:x.mkv", "%d.mkv", "käse.mkv"])
def test_odd_names_are_just_files(clip: Path, name: str) -> None:
    clip.rename(name)
    assert main(["estimate", *CPU, "-o", "out.flo/", "--stop", "2", "--", name]) == 0
    assert names(Path("out.flo")) == ["000000.flo"]


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--percentile", "0", "Invalid value for '--percentile': '0' is not a number above 0, and not above 100"),
        ("--dim", "1.5", "Invalid value for '--dim': '1.5' is not a number from 0 to 1"),
        (
            "--style",
            "arrow",
            "Invalid value for '--style': 'arrow' is not one of 'wheel', 'hsv', 'arrows', 'magnitude', 'overlay', "
            "'side-by-side', 'trails'.",
        ),
    ],
)
def test_drawing_options_that_make_no_sense(
    option: str, value: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["estimate", "x", "-o", "y.mp4", option, value]) == 2
    hint = "did you mean arrows?" if option == "--style" else "flowcli estimate --help shows what there is"
    assert capsys.readouterr().err.splitlines() == [f"error: {message}", f"hint: {hint}"]


def test_stop_must_be_after_start(capsys: pytest.CaptureFixture[str]) -> None:
    for start_, stop in (("10", "10"), ("2s", "0:01"), ("0", "0")):
        assert main(["estimate", "x", "-o", "y", "--start", start_, "--stop", stop]) == 2
        expected = "hint: stop is exclusive: --start 10 --stop 12 takes frames 10 and 11\n"
        assert capsys.readouterr().err == f"error: --stop is not after --start\n{expected}"


def test_bad_input_leaves_nothing(pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = write_pictures(tmp_path / "one", 1)
    cut = write_pictures(tmp_path / "cut", 4)
    (cut / "f2.png").write_bytes(b"not a picture")
    (tmp_path / "text.mp4").write_text("not a video")
    (tmp_path / "none").mkdir()
    (tmp_path / "there.mp4").write_text("mine")
    before = names(tmp_path)
    cases = {
        ("no.mp4", "-o", "a.mp4"): ("no such file: no.mp4", "check the name"),
        (str(one), "-o", "a.mp4"): (f"only one frame in {one}", "flow needs two frames"),
        (str(one), "-o", "a", "--last", "zero"): (f"only one frame in {one}", "flow needs two frames"),
        (str(cut), "-o", "a.mp4", "-o", "b"): (
            f"not a picture, or a damaged one: {cut / 'f2.png'}",
            "remove it, or convert it to PNG",
        ),
        (str(pictures), "-o", "there.mp4"): (
            "output exists already: there.mp4",
            "pass -y to replace it, or choose another name",
        ),
        (str(pictures), "-o", "in", "-y"): ("output would replace the input: in/", "choose another name"),
        (str(pictures), "-o", "a", "-m", "rpcw"): (
            "unknown model: rpcw",
            "did you mean rpwc?",
        ),
    }
    for arguments, (error, hint) in cases.items():
        assert main(["estimate", *arguments, *CPU]) == 1
        assert capsys.readouterr().err == f"error: {error}\nhint: {hint}\n"
        assert names(tmp_path) == before
    for name in ("text.mp4", "none"):
        assert main(["estimate", name, "-o", "a.mp4", *CPU]) == 1
        first, second = capsys.readouterr().err.splitlines()
        assert first.startswith("error: ")
        assert name in first
        assert second.startswith("hint: ")
        assert names(tmp_path) == before
    assert (tmp_path / "there.mp4").read_text() == "mine"


def test_overwrite_replaces(pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "there.mkv").write_text("old")
    assert main(["estimate", str(pictures), "-o", "there.mkv", "-y", *CPU]) == 0
    assert frame_count(Path("there.mkv")) == 4


def test_device_that_is_not_there(pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["estimate", str(pictures), "-o", "a", "--device", "cuda:99"]) == 1
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("error: no ")
    assert second.startswith("hint: ")
    assert names(tmp_path) == ["in", "weights"]


@pytest.mark.slow
def test_through_pipes(clip: Path, table: Path) -> None:
    stream = ffmpeg("-i", str(clip), "-map", "0:v", "-c:v", "rawvideo", "-pix_fmt", "rgb24", "-f", "nut", "-")
    arguments = ["estimate", "-", "--out", "-", *CPU, "--json"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    out, err = start(table, arguments, **pipes).communicate(stream, timeout=60)
    assert out.startswith(b"YUV4MPEG2 W64 H48 ")
    assert out.count(b"FRAME\n") == 11
    assert json.loads(err)["outputs"][0]["out"] == "-"
    out, err = start(table, [*arguments, "--style", "side-by-side"], **pipes).communicate(stream, timeout=60)
    assert out.startswith(b"YUV4MPEG2 W128 H48 ")
    assert out.count(b"FRAME\n") == 11
    process = start(table, [*arguments, "--as", "flow", "-q"], **pipes)
    out, err = process.communicate(stream, timeout=60)
    Path("flow.nut").write_bytes(out)
    raw = ffmpeg("-i", "flow.nut", "-f", "rawvideo", "-pix_fmt", "gbrpf32le", "-")
    planes = np.frombuffer(raw, "<f4").reshape(11, 3, 48, 64)
    frames = [np.frombuffer(each, np.uint8) for each in _rgb(clip)]
    for index, (first, second) in enumerate(pairwise(frames)):
        change = (second.astype(float) - first).reshape(48, 64, 3).mean(2)
        np.testing.assert_allclose(planes[index, 0], change, atol=1e-3)
    assert (planes[:, 1] == DOWN).all()
    assert (planes[:, 2] == 1).all()


def _rgb(path: Path) -> list[bytes]:
    raw = ffmpeg("-i", str(path), "-f", "rawvideo", "-pix_fmt", "rgb24", "-")
    size = 64 * 48 * 3
    return [raw[start : start + size] for start in range(0, len(raw), size)]


def endless() -> subprocess.Popen[bytes]:
    """A video without end on the stdout of a process."""
    options = ("-v", "error", "-re", "-f", "lavfi", "-i", "testsrc=size=64x48:rate=50")
    command = [str(ffmpeg_path()), *options, "-c:v", "rawvideo", "-pix_fmt", "rgb24", "-f", "nut", "-"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def until(ready: object, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while not ready():  # type: ignore[operator]
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks for child processes in /proc")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signal_in_the_middle(table: Path, tmp_path: Path, number: signal.Signals) -> None:
    feeder = endless()
    process = start(
        table, ["estimate", "-", "-o", "a.mp4", "-o", "b", *CPU], stdin=feeder.stdout, stderr=subprocess.PIPE
    )
    try:
        until(lambda: list(tmp_path.glob(".flowcli-*/1/000003.flo")), process)
        below = children(process.pid)
        assert len(below) >= 2
        process.send_signal(number)
        _, err = process.communicate(timeout=30)
        assert process.returncode == 130
        assert err == b"interrupted: nothing was kept; --keep-partial keeps what is done\n"
        assert names(tmp_path) == ["weights"]
        assert not [pid for pid in below if alive(pid)]
    finally:
        process.kill()
        feeder.kill()
        feeder.communicate()


@pytest.mark.slow
def test_signal_while_stdin_is_silent(table: Path, tmp_path: Path) -> None:
    process = start(table, ["estimate", "-", "-o", "a.mp4"], stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        until(lambda: children(process.pid), process)
        time.sleep(0.3)
        process.send_signal(signal.SIGTERM)
        assert process.stderr is not None
        assert process.wait(timeout=30) == 130
        assert process.stderr.read() == b"interrupted\n"
        assert names(tmp_path) == ["weights"]
    finally:
        process.kill()
        process.communicate()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["y4m", "nut"])
def test_reader_that_goes_away(table: Path, tmp_path: Path, kind: str) -> None:
    feeder = endless()
    pipes = {"stdin": feeder.stdout, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = start(table, ["estimate", "-", "-o", "-", "--as", kind, *CPU], **pipes)
    try:
        assert process.stdout is not None
        assert process.stderr is not None
        assert len(process.stdout.read(1000)) == 1000
        process.stdout.close()
        assert process.wait(timeout=30) == 0
        assert process.stderr.read() == b""
    finally:
        process.kill()
        process.communicate()
        feeder.kill()
        feeder.communicate()


@pytest.mark.slow
def test_reader_that_goes_away_takes_the_files_with_it(table: Path, tmp_path: Path) -> None:
    feeder = endless()
    pipes = {"stdin": feeder.stdout, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = start(table, ["estimate", "-", "-o", "-", "-o", "a.mp4", *CPU], **pipes)
    try:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(1000)
        process.stdout.close()
        assert process.wait(timeout=30) == 1
        expected = "error: the reader of stdout went away: a.mp4 not written\nhint: leave out --out -\n"
        assert process.stderr.read().decode() == expected
        assert names(tmp_path) == ["weights"]
    finally:
        process.kill()
        process.communicate()
        feeder.kill()
        feeder.communicate()


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
@pytest.mark.parametrize("kind", ["y4m", "nut"])
def test_full_disk_behind_stdout(pictures: Path, table: Path, kind: str) -> None:
    with open("/dev/full", "wb") as full:
        process = start(
            table, ["estimate", str(pictures), "-o", "-", "--as", kind, *CPU], stdout=full, stderr=subprocess.PIPE
        )
        _, err = process.communicate(timeout=60)
    first, second = err.decode().splitlines()
    assert process.returncode == 1
    assert first.startswith("error: cannot write ")
    assert "No space left on device" in first
    assert second.startswith("hint: ")
