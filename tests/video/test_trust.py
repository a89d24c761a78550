"""A file that names other files brings nothing of them into the frames."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from flowcli.errors import InputError
from flowcli.video import open_source
from tests.video import clips

HINT = "name the video itself: playlists, scripts and patterns, which name others, are not followed"


def hls(secret: Path) -> bytes:
    return f"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\n{secret.name}\n#EXT-X-ENDLIST\n".encode()


def dash(secret: Path) -> bytes:
    return f"""<?xml version="1.0"?>
<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" mediaPresentationDuration="PT1S" profiles="x">
<Period><AdaptationSet contentType="video"><Representation id="0" bandwidth="1" mimeType="video/mp4">
<BaseURL>{secret.name}</BaseURL><SegmentBase/></Representation></AdaptationSet></Period></MPD>""".encode()


def script(secret: Path) -> bytes:
    return f"ffconcat version 1.0\nfile {secret.name}\n".encode()


def sdp(secret: Path) -> bytes:
    head = b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\n"
    return head + b"m=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n"


def subtitles(secret: Path) -> bytes:
    head = b"# VobSub index file, v7 (do not modify this line!)\nsize: 64x48\n"
    return head + b"id: en, index: 0\ntimestamp: 00:00:00:000, filepos: 0\n"


def styled(secret: Path) -> bytes:
    return b"[Script Info]\nScriptType: v4.00+\n[Events]\nDialogue: 0,0:00:00.00,0:00:01.00,x,,0,0,0,,text\n"


def drawing(secret: Path) -> bytes:
    return f'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"><image href="{secret.name}"/></svg>'.encode()


NAMES_OTHERS: list[Callable[[Path], bytes]] = [hls, dash, script, sdp, subtitles, styled, drawing]
SUFFIXES = (".mp4", ".m3u8", ".mpd", ".ffconcat", ".idx", ".sdp", ".svg")


@pytest.mark.slow
@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("kind", NAMES_OTHERS)
def test_what_names_other_files_is_refused(
    tmp_path: Path, kind: Callable[[Path], bytes], suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    secret = clips.write(Path("secret.mp4"), clips.numbered(3), "-c:v", "libx264")
    clips.write(Path("x.sub"), clips.numbered(3), "-f", "mpeg", "-c:v", "mpeg2video")
    Path(f"x{suffix}").write_bytes(kind(secret))
    with pytest.raises(InputError):
        open_source(f"x{suffix}")


def test_the_message_says_what_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("x.mp4").write_bytes(script(Path("secret.ts")))
    with pytest.raises(InputError) as caught:
        open_source("x.mp4")
    assert caught.value.message == "not a video that stands alone: x.mp4"
    assert caught.value.hint == HINT


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a%03d.tga", "a%d.png", "a%3d.mkv"])
def test_a_pattern_brings_no_other_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Such a name is that of one file; ffmpeg would take it for a pattern of others."""
    monkeypatch.chdir(tmp_path)
    for number in range(3):
        clips.lavfi(Path(name % number), "color=red:size=64x48:rate=10", "-frames:v", 1, "-update", 1, "-f", "image2")
    own = clips.lavfi(Path("own.mkv"), "color=green:size=64x48:rate=10:duration=0.3", "-c:v", "png")
    own.rename(name)
    try:
        with open_source(name) as source:
            assert all(frame.image[..., 1].min() > frame.image[..., 0].max() for frame in source)
    except InputError:
        return


@pytest.mark.slow
@pytest.mark.parametrize("text", [b"text\n" * 50, b"\x1b[31mcolours\x1b[0m\n" * 50])
@pytest.mark.parametrize("suffix", [".txt", ".ans", ".nfo", ".asc", ".diz", ".ice", ".vt", ".mp4"])
def test_text_is_not_drawn(tmp_path: Path, text: bytes, suffix: str) -> None:
    path = tmp_path / f"x{suffix}"
    path.write_bytes(text)
    with pytest.raises(InputError):
        open_source(str(path))
