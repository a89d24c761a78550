"""What the decoders of pictures write to standard error by themselves: caught, and judged."""

from __future__ import annotations

import os
import re
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

_STDERR = 2
_LINES = re.compile(
    rb"(?:libpng (?:error|warning): |Corrupt JPEG data: |Premature end of JPEG file|Inconsistent progression sequence"
    rb"|Invalid SOS parameters|Unknown Adobe color transform|Warning: unknown JFIF revision"
    rb"|Application transferred too |<python_buffer>: \(EXR_ERR_)[^\n]*\n?"
)
"""What libjpeg, libpng and OpenEXR print. Source: jerror.h of libjpeg-turbo, pngerror.c of libpng, and trying it."""
_DAMAGE = re.compile(
    r"libpng error: |libpng warning: (?:IDAT|Extra compressed data|.*ADLER32)|Corrupt JPEG|Premature end|Inconsistent"
)
"""Which of them say that pixels are wrong; others are about colour profiles and texts, which are not used."""
_turn = threading.Lock()
"""Standard error is one for all threads."""


@dataclass
class Complaint:
    """The first thing that a decoder said of damage; empty if it said none."""

    text: str = ""


@contextmanager
def overheard() -> Iterator[Complaint]:
    """What is said of damage inside this context, once it is left; what others print meanwhile still appears."""
    complaint = Complaint()
    with _turn:
        try:
            real = os.dup(_STDERR)
        except OSError:
            # Closed: nothing can be printed there.
            yield complaint
            return
        try:
            with tempfile.TemporaryFile() as caught:
                os.dup2(caught.fileno(), _STDERR)
                try:
                    yield complaint
                finally:
                    os.dup2(real, _STDERR)
                    caught.seek(0)
                    said = caught.read()
        finally:
            os.close(real)
    if said:
        told = [line.decode(errors="replace").strip() for line in _LINES.findall(said)]
        complaint.text = next((line for line in told if _DAMAGE.match(line)), "").removeprefix("libpng error: ")
        if others := _LINES.sub(b"", said):
            os.write(_STDERR, others)
