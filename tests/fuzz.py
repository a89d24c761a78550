"""Damaged inputs for every reader: python -m tests.fuzz READER COUNT tries them and prints what came of it.

A good file is changed at random: bytes, bits, numbers at their limits, pieces cut out, doubled or put elsewhere. What a
reader may do is to read it, or to raise a FlowcliError, soon, in little memory, and without leaving files behind.
"""

from __future__ import annotations

import io
import json
import os
import resource
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from flowcli.errors import FlowcliError, is_memory_error

Read = Callable[[Path], object]
"""Reads the file. Raises FlowcliError."""
_LIMITS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**63 - 1, 2**64 - 1)
_MEMORY = 6 << 30


@dataclass
class Found:
    """What came of the inputs of one reader."""

    tried: int = 0
    read: int = 0
    refused: int = 0
    crashes: dict[str, int] = field(default_factory=dict)
    """Other errors, by the last lines of their tracebacks."""
    strays: list[str] = field(default_factory=list)
    slowest: float = 0.0
    memory: int = 0
    """By how many MB the process grew at most."""


def damaged(good: bytes, dice: np.random.Generator) -> bytes:
    """The bytes with one to six changes."""
    data = bytearray(good)
    for _ in range(int(dice.integers(1, 7))):
        if not data:
            break
        # Headers are where most can go wrong.
        reach = len(data) if dice.random() < 0.5 else min(len(data), 256)
        place = int(dice.integers(reach))
        length = int(dice.integers(1, 33))
        match int(dice.integers(7)):
            case 0:
                data[place] = int(dice.integers(256))
            case 1:
                data[place] ^= 1 << int(dice.integers(8))
            case 2:
                value, size = _LIMITS[dice.integers(len(_LIMITS))], int(dice.choice((1, 2, 4, 8)))
                number = (value & (256**size - 1)).to_bytes(size)
                data[place : place + size] = number if dice.random() < 0.5 else number[::-1]
            case 3:
                del data[place : place + length]
            case 4:
                data[place:place] = data[place : place + length]
            case 5:
                other = int(dice.integers(len(data)))
                data[place : place + length] = data[other : other + length]
            case 6:
                if dice.random() < 0.3:
                    del data[place:]
    return bytes(data)


def try_all(goods: list[bytes], suffix: str, read: Read, count: int, seed: int = 0) -> Found:
    """What comes of `count` damaged inputs."""
    found = Found()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"x{suffix}"
        for number in range(count):
            dice = np.random.default_rng([seed, number])
            path.write_bytes(damaged(goods[number % len(goods)], dice))
            began = time.perf_counter()
            try:
                read(path)
                found.read += 1
            except FlowcliError:
                found.refused += 1
            except BaseException as error:
                if isinstance(error, KeyboardInterrupt):
                    raise
                key = "memory" if is_memory_error(error) else "".join(traceback.format_exception(error)[-2:]).strip()
                found.crashes[f"{key[:600]}"] = found.crashes.get(key[:600], 0) + 1
            found.tried += 1
            found.slowest = max(found.slowest, time.perf_counter() - began)
            strays = [name for name in os.listdir(folder) if name != path.name]
            found.strays += strays
            for name in strays:
                (Path(folder) / name).unlink()
    found.memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024
    return found


def _piped(path: Path) -> int:
    """The number of frames that a pipe with the content of the file gives."""
    from flowcli.video.decoding import PIPE, Reading
    from flowcli.video.sources import VideoSource

    ours, theirs = os.pipe()

    def feed() -> None:
        try:
            with os.fdopen(theirs, "wb") as pipe:
                pipe.write(path.read_bytes())
        except BrokenPipeError:
            pass

    feeder = threading.Thread(target=feed)
    feeder.start()
    try:
        with (
            open(ours, "rb", buffering=0) as pipe,
            VideoSource("standard input", PIPE, pipe.fileno(), Reading()) as got,
        ):
            return len(list(got))
    finally:
        feeder.join()


def _colours() -> np.ndarray:
    y, x = np.mgrid[:33, :45]
    return np.stack((x * 5, y * 7, 200 - x - y), axis=-1).astype(np.uint8)


def _encoded(kind: str, *modes: str, **options: Any) -> list[bytes]:
    from PIL import Image

    made = []
    for mode in modes:
        file = io.BytesIO()
        picture = Image.fromarray(_colours())
        (picture.quantize(9) if mode == "P" else picture.convert(mode)).save(file, kind, **options)
        made.append(file.getvalue())
    return made


def _video(*options: object) -> bytes:
    from tests.video import clips

    return clips.ffmpeg("-f", "lavfi", "-i", "testsrc2=s=48x32:r=10:d=0.5", *options, "-")


def _stored(write: Callable[[Path], object], suffix: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"x{suffix}"
        write(path)
        return path.read_bytes()


def _pictures(kind: str, suffix: str, *modes: str, **options: Any) -> tuple[list[bytes], str, Read]:
    from flowcli.pictures import read_picture

    return _encoded(kind, *modes, **options), suffix, lambda path: read_picture(path, None, lambda *_: None)


def _stacks() -> tuple[list[bytes], str, Read]:
    from PIL import Image

    from flowcli.video import open_source

    pages = [Image.fromarray(_colours() // (number + 1)) for number in range(3)]
    file = io.BytesIO()
    pages[0].save(file, "TIFF", save_all=True, append_images=pages[1:], compression="tiff_lzw")
    return [file.getvalue()], ".tif", lambda path: list(open_source(str(path)))


def _flows(suffix: str) -> tuple[list[bytes], str, Read]:
    from flowcli.flowfile import read_flow, write_flow

    uv = np.random.default_rng(0).normal(0, 5, (2, 17, 23)).astype(np.float32)
    return [_stored(lambda path: write_flow(path, uv), suffix)], suffix, read_flow


def _y4m() -> tuple[list[bytes], str, Read]:
    return (
        [_video("-pix_fmt", pixels, "-strict", "-1", "-f", "yuv4mpegpipe") for pixels in ("yuv420p", "yuv444p10le")],
        ".y4m",
        _piped,
    )


def _nut() -> tuple[list[bytes], str, Read]:
    return (
        [_video("-c:v", "rawvideo", "-pix_fmt", "rgb24", "-f", "nut"), _video("-c:v", "ffv1", "-f", "nut")],
        ".nut",
        _piped,
    )


def _t7() -> tuple[list[bytes], str, Read]:
    from flowcli.weights.checkpoints import read_checkpoint
    from tests.lua import Lua, whole

    weight, bias = np.zeros((2, 3, 3, 3), np.float32), np.zeros(2, np.float32)
    goods = []
    for long in "qi":
        lua = Lua(long)
        goods.append(whole(lua.sequential(lua.convolution(weight, bias, flat=long == "i"), lua.function(8))))
    return goods, ".t7", read_checkpoint


def _checkpoints() -> tuple[list[bytes], str, Read]:
    import torch

    from flowcli.weights.checkpoints import read_checkpoint

    state = {"a.weight": torch.zeros(2, 3), "a.bias": torch.zeros(2)}

    def saved(new: bool) -> bytes:
        return _stored(lambda path: torch.save(state, path, _use_new_zipfile_serialization=new), ".pth")

    goods = [saved(True), saved(False)]
    return goods, ".pth", read_checkpoint


def _lists() -> tuple[list[bytes], str, Read]:
    from flowcli.batch.lists import read_list

    text = "a.mp4\r\n'b c.mkv'\n\"d\".mov\n\n/x/y/z.webm \n"
    return (
        [text.encode(code) for code in ("utf-8", "utf-8-sig", "utf-16", "latin-1")] + [b"a\0b\0"],
        ".txt",
        lambda path: read_list(str(path)),
    )


def _toml() -> tuple[list[bytes], str, Read]:
    from flowcli.nets.convention import find_convention

    text = 'order = "BGR"\nrange = 255.0\nmean = [0.485, 0.456, 0.406]\nstd = [0.2, 0.2, 0.2]\n'
    text += 'multiple = 32\nsize = [32, 48]\nkind = "classes"\noutput = ["a", "b"]\nscale = "a.safetensors"\n'
    return [text.encode()], ".toml", lambda path: find_convention(None, path.with_suffix(".onnx"))


def _masks() -> tuple[list[bytes], str, Read]:
    from flowcli.carry.forms import read_form, read_mask

    return _encoded("PNG", "P", "L", "1", "I;16"), ".png", lambda path: read_mask(path, read_form(path)[0])


def _onnx() -> tuple[list[bytes], str, Read]:
    from flowcli.nets.net import open_net
    from tests.nets import small

    return [small.segmenter(size=(32, 48)).SerializeToString()], ".onnx", lambda path: open_net(str(path))


def _programs() -> tuple[list[bytes], str, Read]:
    import torch

    from flowcli.nets.net import open_net

    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, padding=1), torch.nn.ReLU())
    program = torch.export.export(net.eval(), (torch.zeros(1, 3, 32, 48),))
    return [_stored(lambda path: torch.export.save(program, path), ".pt2")], ".pt2", lambda path: open_net(str(path))


def _times() -> tuple[list[bytes], str, Read]:
    from flowcli.cli.interpolate import _read_times

    return [b"0\n0.25\n1/3\n1.5\n1.5\n2\n"], ".times", _read_times


def _safetensors() -> tuple[list[bytes], str, Read]:
    import torch
    from safetensors.torch import save

    from flowcli import models
    from flowcli.weights import entries, loading, recognition

    torch.manual_seed(0)
    settings = {"width": 8}
    state = models.create("rpwc", **settings).state_dict()
    good = save(dict(state), {"network": "rpwc", "settings": json.dumps(settings), "gmacs": "1.5"})

    def read(path: Path) -> object:
        entry = entries.resolve(str(path))
        return loading.load(entry) if entry.network else recognition.load(path, None)

    return [good], ".safetensors", read


READERS: dict[str, Callable[[], tuple[list[bytes], str, Read]]] = {
    "y4m": _y4m,
    "nut": _nut,
    "t7": _t7,
    "exr": lambda: _flows(".exr"),
    "flo": lambda: _flows(".flo"),
    "pfm": lambda: _flows(".pfm"),
    "npy": lambda: _flows(".npy"),
    "npz": lambda: _flows(".npz"),
    "avif": lambda: _pictures("AVIF", ".avif", "RGB", "RGBA"),
    "tiff": lambda: _pictures("TIFF", ".tif", "RGB", "RGBA", "P", "1"),
    "webp": lambda: _pictures("WEBP", ".webp", "RGB", "RGBA"),
    "jpeg": lambda: _pictures("JPEG", ".jpg", "RGB", "L", "CMYK"),
    "png": lambda: _pictures("PNG", ".png", "RGB", "RGBA", "P"),
    "jp2": lambda: _pictures("JPEG2000", ".jp2", "RGB", "L"),
    "stacks": _stacks,
    "checkpoints": _checkpoints,
    "safetensors": _safetensors,
    "lists": _lists,
    "toml": _toml,
    "masks": _masks,
    "onnx": _onnx,
    "pt2": _programs,
    "times": _times,
}


def main(name: str, count: int) -> None:
    """Tries a reader in this process, with a limit of memory."""
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    found = try_all(*READERS[name](), count)
    print(json.dumps({"reader": name, **found.__dict__}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
