"""A NUT stream of one uncompressed video: the container that carries raw pictures with exact times through a pipe.

Every frame is a key frame behind a syncpoint of its own, so that the frame code table needs one entry: time stamp, size
and checksum are all coded in full.
Source: "NUT Open Container Format", https://ffmpeg.org/~michael/nut.txt.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from functools import cache

RGB24 = b"RGB\x18"
RGBA = b"RGBA"
RGB48LE = b"RGB0"
RGBA64LE = b"RBA@"
GBRPF32LE = b"G3\x00\x21"

_FILE_ID = b"nut/multimedia container\0"
_MAIN = 0x4E4D7A561F5F04AD
_STREAM = 0x4E5311405BF2F9DB
_INFO = 0x4E49AB68B596BA78
_SYNCPOINT = 0x4E4BE4ADEECA4569

_KEY, _CODED_PTS, _SIZE_MSB, _CHECKSUM, _INVALID = 1, 8, 32, 64, 8192
_FRAME_CODE = 1
_MAX_DISTANCE = 65536
_TEXT_FOLLOWS = b"\x02"


class Muxer:
    """The bytes before the first frame (`header`) and before each frame (`frame`); it never touches the pictures.

    fourcc: one of those above. rate: nominal frames per second, for readers that ask.
    tick: the unit of times, in seconds. aspect: width over height of one pixel.
    """

    def __init__(
        self, fourcc: bytes, height: int, width: int, rate: Fraction, tick: Fraction, aspect: Fraction = Fraction(1)
    ) -> None:
        self.tick = tick
        self._position = 0
        self._syncpoint: int | None = None
        main = _numbers(3, 1, _MAX_DISTANCE, 1, tick.numerator, tick.denominator) + _frame_codes() + _number(0)
        stream = (
            _numbers(0, 0) + _text(fourcc) + _numbers(0, 0, 1, 0, 0, 0)
            + _numbers(width, height, aspect.numerator, aspect.denominator, 0)
        )  # fmt: skip
        nominal = _text(b"r_frame_rate") + _TEXT_FOLLOWS + _text(b"%d/%d" % rate.as_integer_ratio())
        info = _numbers(1, 0, 0, 0, 1) + nominal
        self.header = _FILE_ID + _packet(_MAIN, main) + _packet(_STREAM, stream) + _packet(_INFO, info)
        self._position = len(self.header)

    def frame(self, time: int, size: int) -> bytes:
        """Everything that stands before the `size` bytes of the picture shown at `time` (>= 0, in ticks, rising)."""
        here = self._position
        back = 0 if self._syncpoint is None else (here - self._syncpoint) // 16
        self._syncpoint = here
        # A number below 2^msb_pts_shift would be a difference; the shift is 0, which leaves time + 1 for a full time.
        head = bytes([_FRAME_CODE]) + _numbers(time + 1, size)
        head = _packet(_SYNCPOINT, _numbers(time, back)) + head + _checksum(head)
        self._position += len(head) + size
        return head


def _frame_codes() -> bytes:
    """Three runs of the table of 256 codes: 0 invalid, 1 ours, the rest invalid (code "N" is skipped by definition)."""
    ours = _KEY | _CODED_PTS | _SIZE_MSB | _CHECKSUM
    runs = ((_INVALID, 1), (ours, 1), (_INVALID, 253))
    # Fields: flags, how many follow, time difference (signed), size factor, stream, size, reserved, length of the run.
    return b"".join(_numbers(flags, 6, 0, 1, 0, 0, 0, length) for flags, length in runs) + _number(0)


def _packet(startcode: int, data: bytes) -> bytes:
    return startcode.to_bytes(8, "big") + _number(len(data) + 4) + data + _checksum(data)


def _text(data: bytes) -> bytes:
    return _number(len(data)) + data


def _numbers(*values: int) -> bytes:
    return b"".join(map(_number, values))


def _number(value: int) -> bytes:
    """NUT's `v`: seven bits per byte, highest first, the top bit set on all but the last."""
    digits = [value & 0x7F]
    while value := value >> 7:
        digits.append(value & 0x7F | 0x80)
    return bytes(reversed(digits))


def _checksum(data: Iterable[int]) -> bytes:
    """CRC-32 with generator 0x04C11DB7, highest bit first, starting at 0."""
    table, crc = _table(), 0
    for byte in data:
        crc = crc << 8 & 0xFFFFFFFF ^ table[crc >> 24 ^ byte]
    return crc.to_bytes(4, "big")


@cache
def _table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        crc = byte << 24
        for _ in range(8):
            crc = crc << 1 ^ (0x104C11DB7 if crc & 0x80000000 else 0)
        table.append(crc)
    return tuple(table)
