"""Sound that is taken along from another file: which part of it, in which codec, and where there is none."""

from __future__ import annotations

import os
import re
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from flowcli.errors import InputError, OutputError
from flowcli.types import Frame, StreamInfo, drain
from flowcli.video import Soundtrack, open_video_sink
from flowcli.video.audio import audio_codec
from tests.video import clips

RATE = 48_000
SUFFIXES = (".mp4", ".mov", ".mkv", ".webm")
INFO = StreamInfo(*clips.SIZE, Fraction(10))


def sweep(path: Path, codec: str, *options: object, seconds: float = 3.0) -> Path:
    """A clip of 10 frames a second, whose sound is a tone that rises by 500 Hz in each second, from 300 Hz on."""
    tone = f"aevalsrc=0.5*sin(2*PI*(300*t+250*t*t)):s={RATE}:d={seconds}"
    picture = f"testsrc=size=64x48:rate=10:duration={seconds}"
    return clips.lavfi(path, picture, "-f", "lavfi", "-i", tone, "-c:v", "libx264", "-c:a", codec, *options)


def write(path: Path, sound: Soundtrack | None, count: int = 10, start: Fraction = Fraction(0)) -> Path:
    """`count` frames from `start` on, with the sound."""
    images = clips.numbered(count)
    frames = [Frame(image, index, start + index / INFO.rate) for index, image in enumerate(images)]
    drain(frames, [open_video_sink(path, INFO, sound=sound)])
    return path


def streams(path: Path) -> list[str]:
    return re.findall(r"Stream #0:\d+.*?: (?:Video|Audio): (\w+)", clips.banner(path))


def pitch(path: Path, at: float, width: float = 0.1) -> float:
    """Hertz of the sound around a time of the file: the strongest frequency."""
    raw = clips.ffmpeg(
        *("-i", f"file:{path}", "-map", "0:a:0", "-af", "aresample=async=1:first_pts=0"),
        *("-ac", "1", "-ar", RATE, "-f", "f32le", "-"),
    )
    samples = np.frombuffer(raw, np.float32)
    part = samples[round((at - width / 2) * RATE) : round((at + width / 2) * RATE)]
    spectrum = np.abs(np.fft.rfft(part * np.hanning(len(part)), 8 * len(part)))
    return float(spectrum.argmax()) * RATE / (8 * len(part))


def seconds(path: Path) -> float:
    """How long the sound is."""
    raw = clips.ffmpeg("-i", f"file:{path}", "-map", "0:a:0", "-ac", "1", "-ar", RATE, "-f", "f32le", "-")
    return len(raw) / 4 / RATE


def packets(path: Path) -> set[str]:
    """The hashes of the packets of sound."""
    lines = clips.ffmpeg("-i", f"file:{path}", "-map", "0:a:0", "-c", "copy", "-f", "framemd5", "-").decode()
    return {line.split(",")[5].strip() for line in lines.splitlines() if not line.startswith("#")}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("codec", "copied"),
    [
        ("aac", (".mp4", ".mov", ".mkv")),
        ("libopus", (".mp4", ".mkv", ".webm")),
        ("flac", (".mkv",)),
        ("pcm_s16le", (".mov", ".mkv")),
    ],
)
def test_sound_is_copied_where_the_file_can_hold_it(tmp_path: Path, codec: str, copied: tuple[str, ...]) -> None:
    source = sweep(tmp_path / "in.mkv", codec)
    name = codec.removeprefix("lib")
    assert audio_codec(source) == name
    for suffix in SUFFIXES:
        path = write(tmp_path / f"a{suffix}", Soundtrack(source))
        other = "opus" if suffix == ".webm" else "aac"
        assert streams(path)[1:] == [name if suffix in copied else other]
        if suffix in copied and not codec.startswith("pcm"):
            assert packets(path) <= packets(source)
        assert pitch(path, 0.5) == pytest.approx(300 + 500 * 0.5, abs=12)
        assert clips.times(path) == [Fraction(index, 10) for index in range(10)]


@pytest.mark.slow
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_sound_starts_and_ends_with_the_frames(tmp_path: Path, suffix: str) -> None:
    source = sweep(tmp_path / "in.mp4", "aac")
    path = write(tmp_path / f"a{suffix}", Soundtrack(source), start=Fraction(6, 5))
    for at in (0.2, 0.8):
        assert pitch(path, at) == pytest.approx(300 + 500 * (1.2 + at), abs=12)
    assert 0.9 < seconds(path) < 1.1
    assert clips.times(path)[0] == 0
    named = write(tmp_path / f"b{suffix}", Soundtrack(source, start=Fraction(1, 2)), start=Fraction(6, 5))
    assert pitch(named, 0.5) == pytest.approx(300 + 500 * 1.0, abs=12)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
@pytest.mark.parametrize("tempo", [Fraction(1, 5), Fraction(2, 3), Fraction(3)])
def test_a_tempo_leaves_the_pitch(tmp_path: Path, suffix: str, tempo: Fraction) -> None:
    source = sweep(tmp_path / "in.mp4", "aac")
    path = write(tmp_path / f"a{suffix}", Soundtrack(source, Fraction(0), tempo))
    assert seconds(path) == pytest.approx(1.0, abs=0.12)
    assert pitch(path, 0.5) == pytest.approx(300 + 500 * 0.5 * float(tempo), abs=40)


@pytest.mark.slow
def test_channels_that_opus_refuses(tmp_path: Path) -> None:
    source = sweep(tmp_path / "in.mkv", "flac", "-af", "pan=5.1(side)|c0=c0|c1=c0|c2=c0|c3=c0|c4=c0|c5=c0")
    path = write(tmp_path / "a.webm", Soundtrack(source))
    assert "Audio: opus, 48000 Hz, 5.1" in clips.banner(path)


def test_sound_beside_a_comment(tmp_path: Path) -> None:
    source = sweep(tmp_path / "in.mp4", "aac")
    frames = [Frame(image, index, Fraction(index, 10)) for index, image in enumerate(clips.numbered(5))]
    path = tmp_path / "a.mkv"
    drain(frames, [open_video_sink(path, INFO, sound=Soundtrack(source), comment=lambda: "text")])
    assert clips.comment(path) == "text"
    assert streams(path) == ["h264", "aac"]
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.mkv", "in.mp4"]


@pytest.mark.slow
def test_where_there_is_no_sound(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    silent = clips.lavfi(tmp_path / "in.mkv", "testsrc=size=64x48:rate=10:duration=1", "-c:v", "libx264")
    assert audio_codec(silent) is None
    assert streams(write(tmp_path / "a.mp4", Soundtrack(silent))) == ["h264"]
    bare = write(tmp_path / "b.mp4", None)
    assert (tmp_path / "a.mp4").read_bytes() == bare.read_bytes()
    assert caplog.messages == []
    gif = tmp_path / "a.gif"
    write(gif, Soundtrack(sweep(tmp_path / "loud.mp4", "aac")))
    assert caplog.messages == [f"{gif} has no sound: GIF holds none"]


@pytest.mark.slow
def test_sound_that_ends_early(tmp_path: Path) -> None:
    source = sweep(tmp_path / "in.mp4", "aac", seconds=0.5)
    path = write(tmp_path / "a.mp4", Soundtrack(source), count=20)
    assert len(clips.times(path)) == 20
    assert seconds(path) == pytest.approx(0.5, abs=0.05)
    late = write(tmp_path / "b.mp4", Soundtrack(source), start=Fraction(2))
    assert len(clips.times(late)) == 10


def test_sound_that_cannot_be_read(tmp_path: Path) -> None:
    missing, pipe = tmp_path / "none.mp4", tmp_path / "pipe.mp4"
    os.mkfifo(pipe)
    for path in (missing, pipe, tmp_path):
        with pytest.raises(InputError) as caught:
            open_video_sink(tmp_path / "a.mp4", INFO, sound=Soundtrack(path))
        assert (caught.value.message, caught.value.hint) == (f"no such file: {path}", "sound is taken from files only")
    pipe.unlink()
    assert list(tmp_path.iterdir()) == []
    source = sweep(tmp_path / "in.mp4", "aac")
    sink = open_video_sink(tmp_path / "a.mp4", INFO, sound=Soundtrack(source))
    for frame in (Frame(image, index, Fraction(index, 10)) for index, image in enumerate(clips.numbered(3))):
        sink.write(frame)
    source.unlink()
    with pytest.raises(OutputError, match=rf"^cannot write {re.escape(str(tmp_path))}/a\.mp4: "):
        sink.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ["-a %03d.mp4", "http:x.mp4", 'it\'s "b".mkv', "a\udcff.mp4"])
def test_any_name_is_a_file_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    sweep(tmp_path / "in.mp4", "aac").rename(name)
    assert streams(write(tmp_path / "a.mp4", Soundtrack(Path(name)))) == ["h264", "aac"]


@pytest.mark.parametrize(("start", "tempo"), [(Fraction(-1), Fraction(1)), (Fraction(0), Fraction(0))])
def test_sound_that_makes_no_sense(start: Fraction, tempo: Fraction) -> None:
    with pytest.raises(ValueError, match=r"^sound cannot start at "):
        Soundtrack(Path("a.mp4"), start, tempo)
