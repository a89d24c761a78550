"""Downloads that appear whole or not at all, and go on where they broke off.

Until it is whole, a download lies beside its target in a hidden file, whose name is made of the target's but never
long; a second one says what it is a part of. Neither is written through a link, or into a file of somebody else.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import stat
import string
import time
from collections.abc import Callable
from contextlib import suppress
from http.client import HTTPException, HTTPResponse, responses
from pathlib import Path
from urllib.error import URLError
from urllib.parse import quote, urljoin, urlsplit
from urllib.request import HTTPHandler, HTTPSHandler, OpenerDirector, ProxyHandler, Request, UnknownHandler

from flowcli.atomic import check_free
from flowcli.errors import FetchError
from flowcli.weights import files

_Report = Callable[[int, int | None], None]
_BY_HAND = "download it in a browser, then: flowcli models import FILE"
_PAUSES = (0.5, 1.0, 2.0, 4.0)  # Seconds before each new try of a download that broke off.
_CHUNK = 1 << 17


def fetch(
    url: str,
    target: Path,
    *,
    sha256: str | None = None,
    most: int,
    agent: str = "flowcli",
    report: _Report = lambda done, total: None,
    timeout: float = 30.0,
) -> str:
    """Downloads `url` to `target`, in place of a file that was there; returns the SHA-256 of the file, in hex.

    sha256: the hash that the file must have; if `target` has it already, nothing is downloaded. most: bytes; a larger
    file is refused. agent: who asks, as the request's User-Agent. report: is called with the number of bytes that are
    there, and of the whole file if known. timeout: seconds without a byte after which the connection counts as broken.
    A download that broke off is resumed: a few times here, then by the next call with the same url and target.
    Raises FetchError if the download fails, OutputError if there can be no file `target`.
    """
    wanted = sha256.lower() if sha256 else None
    download = _Download(url, target, most, agent, report, timeout)
    try:
        if wanted and target.is_file() and files.sha256(target) == wanted:
            return wanted
        check_free(target, overwrite=True)
        download.complete()
        digest = files.sha256(download.part)
        if wanted in (None, digest):
            os.replace(download.part, target)
        download.forget()
    except ConnectionError:
        raise  # Of `report`: nobody listens.
    except OSError as error:
        hint = f"check the free space and the permissions, then {download.again()}"
        raise download.error(f"{error.filename or download.part}: {error.strerror}", hint) from error
    if wanted not in (None, digest):
        raise download.error(f"its sha256 is {digest}, expected {wanted}", download.again())
    return digest


def part_names(target: Path) -> tuple[Path, Path]:
    """Where the part of a download to `target` lies, and what is said of it."""
    name = f".flowcli-{hashlib.sha256(os.fsencode(target.name)).hexdigest()[:16]}"
    return target.with_name(f"{name}.part"), target.with_name(f"{name}.json")


def _own(path: Path) -> io.FileIO:
    """The file, open for writing; made anew if it is a link, has other names, or belongs to somebody else."""
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    with suppress(OSError):
        descriptor = os.open(path, flags, 0o600)
        status = os.fstat(descriptor)
        if _is_own(status):
            return io.FileIO(descriptor, "r+")
        os.close(descriptor)
    path.unlink(missing_ok=True)
    return io.FileIO(os.open(path, flags | os.O_EXCL, 0o600), "r+")


def _is_own(status: os.stat_result) -> bool:
    user = os.geteuid() if hasattr(os, "geteuid") else status.st_uid
    return stat.S_ISREG(status.st_mode) and status.st_nlink == 1 and status.st_uid == user


class _BrokenError(Exception):
    """The download broke off, and another try may go on. The text says how."""


class _Download:
    """The part that is there, and its note: a JSON list of the URL, a validator, and the size of the whole file.

    The validator is a strong ETag, a date, or nothing.
    """

    def __init__(self, url: str, target: Path, most: int, agent: str, report: _Report, timeout: float) -> None:
        self.url, self.most, self.agent, self.report, self.timeout = url, most, agent, report, timeout
        self.part, self.note = part_names(target)

    def complete(self) -> None:
        """Fetches what is missing of the part. Raises FetchError, and OSError if the part cannot be written."""
        for pause in (*_PAUSES, None):
            try:
                self._receive(*self._kept())
                break
            except _BrokenError as error:
                if pause is None:
                    raise self.error(str(error), self.again()) from error
                time.sleep(pause)

    def error(self, reason: str, hint: str) -> FetchError:
        return FetchError(f"cannot fetch {self.url}: {reason}", hint)

    def again(self) -> str:
        return f"try again{': it resumes' if self._kept()[0] else ''}; or {_BY_HAND}"

    def forget(self) -> None:
        self.part.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)

    def _kept(self) -> tuple[int, str, int | None]:
        """How many bytes of the part can stay, its validator, and the size of the whole file."""
        try:
            url, validator, total = json.loads(self.note.read_text(encoding="utf-8"))
            status = self.part.lstat()
            size = status.st_size if _is_own(status) else 0
            # Of a whole part, all but the last byte: there has to be something to ask for.
            return (min(size, total - 1) if url == self.url and validator and size <= total else 0), validator, total
        except (OSError, ValueError, TypeError):
            return 0, "", None

    def _receive(self, start: int, validator: str, total: int | None) -> None:
        """Fetches the bytes from `start` on. Raises _BrokenError if another try may help."""
        with self._ask(start, validator) as answer:
            span = f"bytes {start}-{(total or 0) - 1}/{total}"
            if answer.status != 416 and answer.headers.get_content_type() == "text/html":
                raise self.error("the answer is a web page, not a file", _BY_HAND)
            if answer.status == 200:
                start, validator, total = 0, _validator(answer), answer.length
            elif answer.headers.get("Content-Range") != span or _validator(answer) not in ("", validator):
                self.forget()
                raise _BrokenError("the server does not go on where it was")
            # Without a buffer: what was reported is in the file, and closing it cannot run out of space.
            with _own(self.part) as file:
                file.truncate(start)
                file.seek(start)
                with _own(self.note) as note:
                    note.truncate(0)
                    note.write(json.dumps([self.url, validator, total]).encode())
                size = self._copy(answer, file.write, start, total)
        if size > self.most:
            self.forget()
            raise self.error(f"it has at least {size} bytes, {self.most} are allowed", "check the address")

    def _copy(self, answer: HTTPResponse, write: Callable[[bytes], int], done: int, total: int | None) -> int:
        """Writes what comes after `done` bytes; returns the size of the whole. Stops early if that is above `most`."""
        self.report(done, total)
        while done != total and (total or 0) <= self.most:
            try:
                # Not read(), which forgets what has come when the rest does not.
                chunk = answer.read1(_CHUNK if total is None else min(_CHUNK, total - done))
                if not chunk and total is not None:
                    raise ConnectionError("it ended early")
            except (OSError, HTTPException) as error:
                raise _BrokenError(f"the connection broke after {done} of {total or '?'} bytes: {error}") from error
            if not chunk or done + len(chunk) > self.most:
                return done + len(chunk)
            if self.part.stat().st_size != done:
                raise self.error(f"another run writes to {self.part}", "wait until it is done")
            done += len(chunk)
            while chunk:
                chunk = chunk[write(chunk) :]
            self.report(done, total)
        return total or done

    def _ask(self, start: int, validator: str) -> HTTPResponse:
        """The answer to a request for the bytes from `start` on, of status 200 or, if `start` is not 0, 206 or 416."""
        headers = {"User-Agent": self.agent}
        headers |= {"Range": f"bytes={start}-", "If-Range": validator} if start else {}
        # No handler for redirects, since where they lead is checked below, and none for file: and ftp:.
        opener = OpenerDirector()
        for handler in (ProxyHandler(), HTTPHandler(), HTTPSHandler(), UnknownHandler()):
            opener.add_handler(handler)
        url, place = "", self.url
        for _ in range(6):
            url, before = _address(place, url), url
            if not url:
                raise self.error(f"refusing the redirect to {place}" if before else "not http or https", _BY_HAND)
            try:
                answer: HTTPResponse = opener.open(Request(url, headers=headers), timeout=self.timeout)
            except URLError as error:  # Before the request was sent.
                reason = f"cannot reach {urlsplit(url).netloc}: {getattr(error.reason, 'strerror', '') or error.reason}"
                raise self.error(reason, f"check the connection, then {self.again()}") from error
            except (OSError, HTTPException) as error:
                raise _BrokenError(f"the connection broke: {error}") from error
            if answer.status == 200 or (start and answer.status in (206, 416)):
                return answer
            answer.close()
            if answer.status not in (301, 302, 303, 307, 308):
                hint = f"wait, then {self.again()}" if answer.status in (429, *range(500, 600)) else _BY_HAND
                raise self.error(f"the server says {answer.status} {responses.get(answer.status, '')}", hint)
            place = answer.headers.get("Location", "")
        raise self.error("redirected more than 5 times", _BY_HAND)


def _address(place: str, base: str) -> str:
    """The URL of `place`, seen from `base`, quoted; empty if not plain http or https, or if http under https."""
    try:
        # The headers of an answer are read as latin-1, whatever they are.
        url = urljoin(base, quote(place, safe=string.punctuation, encoding="latin-1" if base else "utf-8"))
        parts = urlsplit(url)
        sound = bool((parts.hostname or "").encode("idna")) and parts.port != 0 and "@" not in parts.netloc
        return url if sound and parts.scheme in ("https", *([] if base.startswith("https:") else ["http"])) else ""
    except ValueError:
        return ""


def _validator(answer: HTTPResponse) -> str:
    tag = str(answer.headers.get("ETag", ""))
    return tag if tag.startswith('"') else str(answer.headers.get("Last-Modified", ""))
