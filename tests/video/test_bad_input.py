"""Names and files that are not what they seem: exact messages, and no more harm than that."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from flowcli.errors import FfmpegError, InputError
from flowcli.video import facts, ffmpeg_path, open_source
from tests.tiny import children
from tests.video import clips

linux = pytest.mark.skipif(sys.platform != "linux", reason="looks for child processes in /proc")
posix = pytest.mark.skipif(sys.platform == "win32", reason="the stand-in is a shell script")


@pytest.fixture(autouse=True)
def _inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return clips.write(tmp_path / "clip.mkv", clips.numbered(5))


def check_error(name: str, error: str, hint: str, **selection: int) -> None:
    with pytest.raises(InputError) as caught:
        open_source(name, **selection)  # type: ignore[arg-type]
    assert (caught.value.message, caught.value.hint) == (error, hint)


def test_missing() -> None:
    check_error("none.mp4", "no such file: none.mp4", "check the name")
    check_error("none/a.mp4", "no such file: none/a.mp4", "check the name")
    check_error("x" * 300, f"no such file: {'x' * 300}", "check the name")
    fetch = "flowcli reads files alone; download it first: curl -LO http://localhost/a.mp4"
    check_error("http://localhost/a.mp4", "an address, not a file: http://localhost/a.mp4", fetch)
    pipe = "flowcli reads files and pipes alone: ffmpeg -i 'rtsp://host/?a&b' -f nut - | flowcli estimate - ..."
    check_error("rtsp://host/?a&b", "an address, not a file: rtsp://host/?a&b", pipe)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_unreadable(clip: Path) -> None:
    clip.chmod(0)
    check_error("clip.mkv", "file is not readable: clip.mkv", "check its permissions")


def test_raw_video() -> None:
    Path("x.YUV").write_bytes(bytes(64 * 48 * 3))
    Path("my x.rgb").write_bytes(bytes(64 * 48 * 3))
    for name, layout, word in (("x.YUV", "yuv420p", "x.YUV"), ("my x.rgb", "rgb24", "'my x.rgb'")):
        hint = (
            f"say its format and size: ffmpeg -f rawvideo -pix_fmt {layout} -s WIDTHxHEIGHT -r 25 -i {word} -f nut - "
            "| flowcli estimate - ..."
        )
        check_error(name, f"raw video, which does not say its size: {name}", hint)


def test_pictures_of_other_kinds() -> None:
    kinds = {
        "a.HEIC": "export it as PNG or JPEG, or: heif-convert IN.heic OUT.png",
        "a.cr2": "develop it first, to PNG or TIFF, with a program for the camera's raw files",
        "a.jxl": "convert it to PNG first",
    }
    for name, hint in kinds.items():
        Path(name).write_bytes(b"junk")
        check_error(name, f"pictures of this kind are not read: {name}", hint)


def test_empty() -> None:
    Path("a.mp4").touch()
    check_error("a.mp4", "file is empty: a.mp4", "get it again; it has 0 bytes")


@pytest.mark.parametrize("content", [b"just text\n", b"just text\n" * 9999, b"\0" * 5000, bytes(range(256)) * 40])
def test_not_a_video(content: bytes) -> None:
    for name in ("a.mp4", "a.avi"):
        Path(name).write_bytes(content)
        check_error(name, f"not a video: {name}", "choose another file: this is not what its name says")
    Path("a").write_bytes(content)
    words = "Error opening input: Invalid data found when processing input"
    check_error("a", "not a video: a", f"choose another file; ffmpeg says: {words}")


def test_index_cut_off() -> None:
    whole = clips.write(Path("a.mp4"), clips.numbered(9), "-c:v", "libx264", "-qp", 1).read_bytes()
    Path("b.mp4").write_bytes(whole[: whole.index(b"moov") - 50])
    error = "mp4 without its index (moov atom): b.mp4"
    check_error("b.mp4", error, "it was cut off or never finished: get it again")


def test_truncated_clip(shared: Path) -> None:
    name = str(shared / "videos" / "truncated.mp4")
    error = f"mp4 without its index (moov atom): {name}"
    check_error(name, error, "it was cut off or never finished: get it again")


def test_only_sound(clip: Path) -> None:
    clips.lavfi(Path("a.mp4"), "sine=duration=0.3", "-c:a", "aac")
    check_error("a.mp4", "no video in a.mp4", "it holds only sound: choose another file")
    cover = ("-i", "a.mp4", "-i", clip, "-map", 0, "-map", 1, "-frames:v", 1)
    clips.ffmpeg(*cover, "-c:a", "copy", "-c:v", "png", "-disposition:v:0", "attached_pic", "b.mp4")
    check_error("b.mp4", "no video in b.mp4", "it holds only sound: choose another file")


def test_nothing_is_selected(clip: Path) -> None:
    hint = "choose an earlier start or a later stop"
    check_error("clip.mkv", "nothing is left of clip.mkv: it has 5 frames", hint, start=5)
    check_error("clip.mkv", "nothing is left of clip.mkv: no frame is between start and stop", hint, start=3, stop=3)


def test_no_frame_can_be_decoded() -> None:
    data = bytearray(clips.write(Path("a.mkv"), clips.numbered(1)).read_bytes())
    start = data.index(b"\x89PNG")
    data[start : start + 8] = bytes(8)
    Path("a.mkv").write_bytes(data)
    with pytest.raises(InputError, match=r"^no frame can be decoded from a\.mkv: ") as caught:
        open_source("a.mkv")
    assert caught.value.hint == "get the file again"


def test_stream_that_is_cut_off(shared: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = shared / "videos" / "truncated.ts"
    with open_source(str(path)) as source:
        times = [frame.time for frame in source]
    assert times == clips.times(path)
    assert len(times) == 17
    (message,) = caplog.messages
    assert message.startswith(f"{path} is damaged or cut off (")
    assert message.endswith("): 17 frames could be read")


def test_hole_in_the_middle(caplog: pytest.LogCaptureFixture) -> None:
    data = bytearray(clips.write(Path("a.mkv"), clips.numbered(20)).read_bytes())
    middle = len(data) // 2
    data[middle : middle + 2000] = bytes(2000)
    Path("a.mkv").write_bytes(data)
    with open_source("a.mkv") as source:
        numbers = [clips.number(frame.image) for frame in source]
    assert len(numbers) == len(clips.times(Path("a.mkv")))
    assert numbers[0] == 0
    assert 1 < len(numbers) < 20
    assert [message.split(" (")[0] for message in caplog.messages] == ["a.mkv is damaged or cut off"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "a b;c.mkv", "http:x.mkv", "-x.mkv", "x%d.mkv", "x%03d.mkv", "it's.mkv", 'a"b.mkv', "a\nb.mkv", "a\\b.mkv",
        "$(touch hacked).mkv", "`touch hacked`.mkv", "a,b[c]=d:e.mkv", "*.mkv", "ünï.mkv", "concat:a|b.mkv", "pipe:0",
        "file:x.mkv", "|touch hacked", "-", "none",
    ],
)  # fmt: skip
def test_any_name_is_a_file_name(clip: Path, name: str) -> None:
    clip.rename(name)
    before = os.listdir()
    with open_source(f"./{name}" if name == "-" else name) as source:
        assert [clips.number(frame.image) for frame in source] == [0, 1, 2, 3, 4]
    assert os.listdir() == before


@pytest.mark.skipif(sys.platform == "darwin", reason="names are Unicode there")
def test_name_that_is_not_utf8(clip: Path) -> None:
    name = os.fsdecode(b"a\xff\xfe.mkv")
    clip.rename(name)
    with open_source(name) as source:
        assert len(list(source)) == 5


def test_a_file_cannot_send_us_elsewhere(clip: Path) -> None:
    """A playlist may name files beside it, but nothing is fetched from a network."""
    Path("a.m3u8").write_text("#EXTM3U\n#EXTINF:1,\nhttp://localhost:9/a.ts\n#EXT-X-ENDLIST\n")
    with pytest.raises(InputError):
        open_source("a.m3u8")


@linux
def test_ffmpeg_is_killed() -> None:
    clips.write(Path("a.mkv"), clips.numbered(9, 480, 640))
    with open_source("a.mkv") as source:
        (child,) = children(os.getpid())
        os.kill(child, signal.SIGKILL)
        with pytest.raises(FfmpegError, match=r"a\.mkv.* killed by signal 9|killed by signal 9 .*a\.mkv$"):
            list(source)


@linux
def test_an_early_end_ends_ffmpeg(clip: Path) -> None:
    with open_source(str(clip)) as source:
        assert clips.number(next(iter(source)).image) == 0
        assert len(children(os.getpid())) == 1
    assert children(os.getpid()) == set()
    source.close()


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes a shell script take the place of ffmpeg."""
    version = subprocess.run([ffmpeg_path(), "-version"], capture_output=True, check=True).stdout

    def make(script: str) -> None:
        path = tmp_path / "ffmpeg"
        path.write_bytes(b"#!/bin/sh\nif [ $1 = -version ]; then cat <<'END'; exit; fi\n" + version + b"END\n")
        with path.open("a") as file:
            file.write(script)
        path.chmod(0o755)
        monkeypatch.setenv("FLOWCLI_FFMPEG", str(path))

    return make


PICTURE = "printf 'P6\\n1 1\\n255\\nRGB'\n"


@posix
def test_frame_that_comes_incomplete(clip: Path, stand_in: Callable[[str], None]) -> None:
    stand_in("printf 'P6\\n2 1\\n255\\nRGB'\n")
    with pytest.raises(FfmpegError) as caught:
        open_source("clip.mkv")
    assert caught.value.message == "frame 0 of clip.mkv came incomplete: ffmpeg ended with 0 and said nothing"
    assert caught.value.hint == "ffmpeg broke off: is there enough memory?"


@posix
def test_frame_without_a_line(clip: Path, stand_in: Callable[[str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(facts, "_SECONDS_FOR_A_LINE", 0.2)
    stand_in(PICTURE)
    with pytest.raises(FfmpegError) as caught:
        open_source("clip.mkv")
    assert caught.value.message == "ffmpeg does not tell the time of frame 0 of clip.mkv"
    assert caught.value.hint == "use ffmpeg 4.2 or newer"


@posix
def test_frame_without_a_time(clip: Path, stand_in: Callable[[str], None]) -> None:
    """It follows the one before it at the nominal rate."""
    lines = ["config in time_base: 1/100, frame_rate: 10/1"]
    lines += [
        f"n: {n} pts: {time} pts_time:x fmt:rgb24 sar:0/1 s:1x1 i:P" for n, time in enumerate(["NOPTS", 7, "NOPTS"])
    ]
    script = ""
    for line in lines:
        names = ("all", "kept") if line.startswith("n:") else ("kept",)
        script += "".join(f"echo '[showinfo@{name} @ 0x55] [info] {line}' >&2\n" for name in names)
    stand_in(script + 3 * PICTURE)
    with open_source("clip.mkv") as source:
        seen = [(frame.index, frame.time, frame.image.tobytes()) for frame in source]
    assert seen == [(0, 0, b"RGB"), (1, Fraction(7, 100), b"RGB"), (2, Fraction(17, 100), b"RGB")]


def test_frames_outlive_their_source(clip: Path) -> None:
    with open_source(str(clip)) as source:
        frames = [frame.image for frame in source]
    np.testing.assert_array_equal(frames, clips.numbered(5))


FRAGMENTS = "frag_keyframe+empty_moov+default_base_moof"


def test_a_segment_without_its_beginning(tmp_path: Path) -> None:
    clips.write(
        Path("a.mp4"), clips.numbered(5), "-c:v", "libx264", "-movflags", "frag_keyframe+empty_moov+default_base_moof"
    )
    data = Path("a.mp4").read_bytes()
    Path("1.m4s").write_bytes(data[data.index(b"moof") - 4 :])
    with pytest.raises(InputError) as caught:
        open_source("1.m4s")
    assert caught.value.message.startswith("no frame can be decoded from 1.m4s: ")
    assert caught.value.hint == (
        "it is a segment of a stream: put the init segment first, as in cat init.mp4 1.m4s > a.mp4"
    )
