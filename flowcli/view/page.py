"""The page itself: a sink that packs looks into one file of HTML of a bounded size."""

from __future__ import annotations

import hashlib
import html
import json
import math
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from flowcli.atomic import Part
from flowcli.errors import UsageError
from flowcli.motion.stats import measure
from flowcli.pictures import from_jpeg, resized, to_jpeg
from flowcli.types import StreamInfo
from flowcli.view.coding import PackedFlow, coarser_flow, pack_flow
from flowcli.view.detail import Detail
from flowcli.view.looks import Look

SCRIPTS = ("decode.js", "flow.js", "draw.js", "plot.js", "page.js")
"""The parts of the script, in order; each knows those before it."""
_DIGITS = 4
"""Decimals of speeds and times."""
_TAGS = 300
"""Bytes of the elements of a frame, beside what is in them, at most."""


@dataclass(frozen=True)
class Subject:
    """What a page is about."""

    title: str
    names: tuple[str, ...]
    """Of the flows, one or two."""
    info: StreamInfo
    """Of the frames."""
    pictures: bool = True
    """Whether there are pictures beside the flow."""


@dataclass(frozen=True, eq=False)
class _Kept:
    """What the page keeps of a frame."""

    facts: dict[str, Any]
    picture: bytes | None
    flows: tuple[PackedFlow, ...]

    @property
    def size(self) -> int:
        """Bytes that it takes in the page, or a little less."""
        parts = [*([] if self.picture is None else [self.picture]), *(flow.data for flow in self.flows)]
        return _TAGS + len(_json(self.facts)) + sum(math.ceil(len(part) / 3) * 4 for part in parts)


class PageSink:
    """Packs looks into a page of at most `limit` bytes, in memory of about that size.

    As long as the page would be larger, it keeps less detail of all frames. Raises UsageError if not even one frame
    has room, OutputError if the target is taken or cannot be made.
    """

    def __init__(self, target: Path, subject: Subject, limit: int, overwrite: bool = False) -> None:
        self._subject = subject
        self._limit = limit
        self._kept: list[_Kept] = []
        self._count = 0
        self.detail = Detail()
        self.size = 0
        """Bytes of the page, once it is closed."""
        head, tail = _around(subject)
        self._room = limit - len(head.encode()) - len(tail.encode()) - 2 * _TAGS - len(_json(subject.names))
        self._used = 0
        self._part = Part(target, overwrite)

    @property
    def frames(self) -> int:
        """Frames in the page so far."""
        return len(self._kept)

    @property
    def error(self) -> float:
        """Pixels by which the values of flow in the page may be off: where they are huge, more than `detail` says."""
        return max((flow.step / 2 for kept in self._kept for flow in kept.flows), default=self.detail.error)

    def write(self, item: Look) -> None:
        number, self._count = self._count, self._count + 1
        if number % self.detail.every:
            return
        kept = _keep(item, self._subject.pictures, self.detail)
        self._kept.append(kept)
        self._used += kept.size
        while self._used > self._room:
            self._save()

    def close(self) -> None:
        with self._part as part:
            with part.path.open("w", encoding="utf-8", newline="\n") as file:
                for text in self._texts():
                    file.write(text)
            self.size = part.path.stat().st_size

    def abort(self) -> None:
        self._part.discard()

    def _save(self) -> None:
        """Keeps the next coarser detail. Raises UsageError if that is impossible."""
        before, info = self.detail, self._subject.info
        after = before.coarser(info.height, info.width)
        if len(self._kept) < 2 and after.every > before.every:
            hint = "allow more by --max-size, or choose a smaller input"
            raise UsageError(f"a page of {self._limit} bytes has no room for a frame", hint)
        chosen = self._kept[:: after.every // before.every]
        # One by one, so that the finer ones go as the coarser ones come.
        for number, kept in enumerate(chosen):
            chosen[number] = _coarser(kept, info, before, after)
        self._kept, self.detail = chosen, after
        self._used = sum(kept.size for kept in chosen)

    def _texts(self) -> Iterator[str]:
        subject, detail = self._subject, self.detail
        facts = {
            "width": subject.info.width,
            "height": subject.info.height,
            "aspect": float(subject.info.aspect),
            "names": subject.names,
            "pictures": subject.pictures,
            "error": self.error,
            **asdict(detail),
            "frames": [kept.facts | {"steps": [flow.step for flow in kept.flows]} for kept in self._kept],
        }
        head, tail = _around(subject)
        yield head
        yield f'<script type="application/json" id="facts">{_json(facts)}</script>\n'
        for number, kept in enumerate(self._kept):
            if kept.picture is not None:
                yield _element(f"picture-{number}", kept.picture)
            for which, flow in enumerate(kept.flows):
                yield _element(f"flow-{which}-{number}", flow.data)
        yield tail


def _keep(look: Look, pictures: bool, detail: Detail) -> _Kept:
    frame = look.frame
    facts: dict[str, Any] = {"index": frame.index, "time": round(float(frame.time), _DIGITS), "cut": frame.cut}
    if frame.name is not None:
        facts["name"] = frame.name[:80]
    if look.pairs:
        measured = [measure(pair) for pair in look.pairs]
        for column in ("speed_mean", "speed_p95"):
            facts[column] = [_rounded(each.get(column)) for each in measured]
    picture = to_jpeg(_shrunk(frame.image, detail.shrink)) if pictures else None
    spacing = detail.spacing
    flows = [pack_flow(pair.forward.numpy()[:, ::spacing, ::spacing], detail.step) for pair in look.pairs]
    return _Kept(facts, picture, tuple(flows))


def _coarser(kept: _Kept, info: StreamInfo, before: Detail, after: Detail) -> _Kept:
    if after.every != before.every:
        return kept
    picture = kept.picture
    if picture is not None and after.shrink != before.shrink:
        picture = to_jpeg(_shrunk(from_jpeg(picture), after.shrink // before.shrink))
    spacing = after.spacing // before.spacing
    return replace(kept, picture=picture, flows=tuple(coarser_flow(flow, spacing, after.step) for flow in kept.flows))


def _shrunk(image: Any, factor: int) -> Any:
    return resized(image, *(math.ceil(side / factor) for side in image.shape[:2]))


def _rounded(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else round(value, _DIGITS)


def _json(value: Any) -> str:
    """The value in ASCII, and without a <, so that nothing in it ends the element that it stands in."""
    return json.dumps(value, allow_nan=False).replace("<", r"\u003c")


def _element(name: str, data: bytes) -> str:
    """An element that the browser keeps as it is; the characters of base 64 cannot end it."""
    return f'<script type="text/plain" id="{name}">{b64encode(data).decode()}</script>\n'


def script() -> str:
    """The script of every page."""
    return '"use strict";\n\n' + "\n".join(map(_text, SCRIPTS))


def _around(subject: Subject) -> tuple[str, str]:
    """What stands before and after the frames."""
    code, style = script(), _text("page.css")
    allowed = f"script-src {_digest(code)}; style-src {_digest(style)}"
    page = Template(_text("page.html")).substitute(
        # Not every legal name of a file is text.
        title=html.escape(subject.title.encode(errors="replace").decode()),
        policy=f"default-src 'none'; base-uri 'none'; form-action 'none'; {allowed}",
        style=style,
        script=code,
        frames="\0",
    )
    head, _, tail = page.partition("\0")
    return head, tail


def _text(name: str) -> str:
    """A file that lies beside this one."""
    return (files("flowcli.view") / name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    """How a policy names the one script or style that it allows."""
    return f"'sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
