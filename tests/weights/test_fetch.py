from __future__ import annotations

import errno
import hashlib
import http.client
import json
import os
import random
import socket
import sys
import threading
import time
from collections.abc import Iterator
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from flowcli.errors import FetchError, OutputError
from flowcli.weights import fetch as fetching
from flowcli.weights.fetch import fetch, part_names

CONTENT = random.Random(0).randbytes(400_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
OTHER = random.Random(1).randbytes(len(CONTENT))
MOST = 1_000_000
BY_HAND = "download it in a browser, then: flowcli models import FILE"
RESUMES = f"try again: it resumes; or {BY_HAND}"
TRIES = 3


class Remote(ThreadingHTTPServer):
    """Gives CONTENT under every name, in the ways that tests ask for."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.reset()

    def reset(self) -> None:
        self.content = CONTENT
        self.headers: dict[str, str] = {"ETag": '"one"'}
        self.ranges = True
        self.span = ""
        """A Content-Range to tell instead of the right one."""
        self.kind = "application/octet-stream"
        self.status = 200
        self.redirects: dict[str, str] = {}
        self.chunked = False
        self.cuts: list[int] = []
        """Bytes of the bodies after which the connection is closed, of one answer each."""
        self.stalls = False
        """Whether nothing more comes there, instead."""
        self.asked: list[Message] = []
        self.sent: list[int] = []
        """Bytes of each body that went out."""
        self.over = threading.Event()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"

    @property
    def url(self) -> str:
        return f"http://{self.host}/file"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that went away are what these tests are about."""


class Answer(BaseHTTPRequestHandler):
    server: Remote

    def log_message(self, format: str, *arguments: Any) -> None:
        pass

    def do_GET(self) -> None:
        remote = self.server
        sent, over = remote.sent, remote.over
        remote.asked.append(self.headers)
        number = len(sent)
        sent.append(0)
        if self.path in remote.redirects:
            self.send_response(302)
            self.send_header("Location", remote.redirects[self.path])
            self.end_headers()
            return
        start, status = self.asked_for()
        body = b"" if status == 416 else remote.content[start:]
        self.send_response(status)
        self.send_header("Content-Type", "text/html" if status == 416 else remote.kind)
        if status == 206:
            whole = len(remote.content)
            self.send_header("Content-Range", remote.span or f"bytes {start}-{whole - 1}/{whole}")
        if remote.chunked:
            self.send_header("Transfer-Encoding", "chunked")
            body = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:1000], body[1000:], b"") if body)
        else:
            self.send_header("Content-Length", str(len(body)))
        for name, value in remote.headers.items():
            self.send_header(name, value)
        self.end_headers()
        cut = remote.cuts.pop(0) if remote.cuts else len(body)
        for place in range(0, len(body[:cut]), 50_000):
            piece = body[:cut][place : place + 50_000]
            sent[number] += len(piece)
            self.wfile.write(piece)
        if remote.stalls and cut < len(body):
            over.wait(30)

    def asked_for(self) -> tuple[int, int]:
        """The first byte to send, and the status."""
        remote, asked = self.server, self.headers
        if remote.status != 200 or not remote.ranges or "Range" not in asked:
            return 0, remote.status
        if asked["If-Range"] not in remote.headers.values():
            return 0, 200
        start = int(asked["Range"].removeprefix("bytes=").removesuffix("-"))
        return (start, 206) if start < len(remote.content) else (0, 416)


@pytest.fixture(scope="module")
def server() -> Iterator[Remote]:
    with Remote() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def remote(server: Remote) -> Iterator[Remote]:
    server.reset()
    yield server
    server.over.set()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "_PAUSES", (0.01,) * (TRIES - 1))
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "weights.pth"


def files(target: Path) -> list[str]:
    return sorted(path.name for path in target.parent.iterdir())


def part(target: Path) -> Path:
    return part_names(target)[0]


def note(target: Path) -> Path:
    return part_names(target)[1]


def refusal(url: str, target: Path, **options: Any) -> FetchError:
    with pytest.raises(FetchError) as caught:
        fetch(url, target, **{"most": MOST, **options})
    return caught.value


def plant(remote: Remote, target: Path, size: int = 100_000) -> None:
    """What a call leaves that broke off after `size` bytes."""
    (validator,) = remote.headers.values()
    part(target).write_bytes(remote.content[:size])
    note(target).write_text(json.dumps([remote.url, validator, len(remote.content)]))


def test_a_file_arrives_whole(remote: Remote, target: Path) -> None:
    reports: list[tuple[int, int | None]] = []
    assert fetch(remote.url, target, most=MOST, agent="me/1", report=lambda *report: reports.append(report)) == SHA256
    assert target.read_bytes() == CONTENT
    assert files(target) == ["weights.pth"]
    assert remote.asked[0]["User-Agent"] == "me/1"
    assert remote.asked[0]["Range"] is None
    assert reports[0] == (0, 400_000)
    assert reports[-1] == (400_000, 400_000)
    assert reports == sorted(set(reports))


def test_an_empty_file(remote: Remote, target: Path) -> None:
    remote.content = b""
    assert fetch(remote.url, target, most=0) == hashlib.sha256(b"").hexdigest()
    assert target.read_bytes() == b""


def test_the_right_file_is_left_alone(remote: Remote, target: Path) -> None:
    target.write_bytes(CONTENT)
    os.utime(target, (1, 1))
    assert fetch(remote.url, target, sha256=SHA256.upper(), most=MOST) == SHA256
    assert remote.asked == []
    assert target.read_bytes() == CONTENT
    assert target.stat().st_mtime == 1


@pytest.mark.parametrize("sha256", [None, SHA256])
def test_another_file_is_replaced(remote: Remote, target: Path, sha256: str | None) -> None:
    target.write_bytes(OTHER)
    before = target.with_name("before")
    before.hardlink_to(target)
    assert fetch(remote.url, target, sha256=sha256, most=MOST) == SHA256
    assert target.read_bytes() == CONTENT
    assert before.read_bytes() == OTHER


def test_a_file_of_unknown_size(remote: Remote, target: Path) -> None:
    remote.chunked = True
    reports: list[tuple[int, int | None]] = []
    assert fetch(remote.url, target, most=400_000, report=lambda *report: reports.append(report)) == SHA256
    assert target.read_bytes() == CONTENT
    assert reports[-1] == (400_000, None)


def test_what_was_cut_once_is_resumed(remote: Remote, target: Path) -> None:
    remote.cuts = [150_000]
    assert fetch(remote.url, target, sha256=SHA256, most=MOST) == SHA256
    assert target.read_bytes() == CONTENT
    assert remote.asked[1]["Range"] == "bytes=150000-"
    assert remote.asked[1]["If-Range"] == '"one"'
    assert remote.sent == [150_000, 250_000]
    assert files(target) == ["weights.pth"]


def test_what_is_always_cut_fails_and_the_next_call_resumes(
    remote: Remote, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    monkeypatch.setattr(fetching, "_PAUSES", (0.5, 1.0, 2.0))
    target.write_bytes(b"old")
    remote.cuts = [100_000, 100_000, 0, 100_000]
    error = refusal(remote.url, target)
    assert error.message == (
        f"cannot fetch {remote.url}: the connection broke after 300000 of 400000 bytes: it ended early"
    )
    assert error.hint == RESUMES
    assert pauses == [0.5, 1.0, 2.0]
    assert target.read_bytes() == b"old"
    assert files(target) == sorted(["weights.pth", *(path.name for path in part_names(target))])
    assert fetch(remote.url, target, most=MOST) == SHA256
    assert remote.sent == [100_000, 100_000, 0, 100_000, 100_000]
    assert files(target) == ["weights.pth"]


def test_a_server_that_cannot_resume(remote: Remote, target: Path) -> None:
    remote.ranges = False
    plant(remote, target)
    assert fetch(remote.url, target, most=MOST) == SHA256
    assert remote.asked[0]["Range"] == "bytes=100000-"
    assert remote.sent == [400_000]
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize("headers", [{}, {"ETag": 'W/"weak"'}, {"ETag": "bare"}])
def test_without_a_validator_it_starts_anew(remote: Remote, target: Path, headers: dict[str, str]) -> None:
    remote.headers = headers
    remote.cuts = [100_000] * TRIES
    error = refusal(remote.url, target)
    assert error.hint == f"try again; or {BY_HAND}"
    assert part(target).stat().st_size == 100_000
    assert fetch(remote.url, target, most=MOST) == SHA256
    assert [asked["Range"] for asked in remote.asked] == [None] * (TRIES + 1)


@pytest.mark.parametrize("tag", [{}, {"ETag": 'W/"weak"'}])
def test_a_date_is_a_validator(remote: Remote, target: Path, tag: dict[str, str]) -> None:
    date = "Tue, 01 Sep 2020 12:00:00 GMT"
    remote.headers = {"Last-Modified": date}
    plant(remote, target)
    remote.headers = {**tag, "Last-Modified": date}
    assert fetch(remote.url, target, most=MOST) == SHA256
    assert remote.asked[0]["If-Range"] == date
    assert remote.sent == [300_000]


def test_a_file_that_changed_starts_anew(remote: Remote, target: Path) -> None:
    plant(remote, target)
    remote.content, remote.headers = OTHER, {"ETag": '"two"'}
    assert fetch(remote.url, target, most=MOST) == hashlib.sha256(OTHER).hexdigest()
    assert remote.sent == [400_000]
    assert target.read_bytes() == OTHER


@pytest.mark.parametrize(
    ("span", "tag"),
    [
        ("bytes 0-399999/400000", '"one"'),
        ("bytes 100000-399999/400001", '"one"'),
        ("bytes 100000-300000/400000", '"one"'),
        ("bytes 100000-399999/*", '"one"'),
        ("nonsense", '"one"'),
        ("", '"two"'),
    ],
)
def test_an_answer_with_another_part_starts_anew(
    remote: Remote, target: Path, monkeypatch: pytest.MonkeyPatch, span: str, tag: str
) -> None:
    plant(remote, target)
    remote.content, remote.span, remote.headers = OTHER, span, {"ETag": tag}
    # A server that overlooks If-Range.
    monkeypatch.setattr(Answer, "asked_for", lambda self: (100_000, 206) if "Range" in self.headers else (0, 200))
    assert fetch(remote.url, target, most=MOST) == hashlib.sha256(OTHER).hexdigest()
    assert [asked["Range"] for asked in remote.asked] == ["bytes=100000-", None]


def test_a_file_that_became_shorter(remote: Remote, target: Path) -> None:
    plant(remote, target)
    remote.content = CONTENT[:1000]
    assert fetch(remote.url, target, most=MOST) == hashlib.sha256(CONTENT[:1000]).hexdigest()
    assert target.read_bytes() == CONTENT[:1000]


def test_a_part_that_is_whole_costs_a_byte(remote: Remote, target: Path) -> None:
    plant(remote, target)
    part(target).write_bytes(CONTENT)
    assert fetch(remote.url, target, sha256=SHA256, most=MOST) == SHA256
    assert remote.asked[0]["Range"] == "bytes=399999-"
    assert remote.sent == [1]


def test_a_part_that_is_too_long_is_not_used(remote: Remote, target: Path) -> None:
    plant(remote, target)
    part(target).write_bytes(CONTENT + b"more")
    assert fetch(remote.url, target, most=MOST) == SHA256
    assert remote.asked[0]["Range"] is None


def test_a_part_of_another_address_is_not_used(remote: Remote, target: Path) -> None:
    plant(remote, target)
    assert fetch(f"{remote.url}?other", target, most=MOST) == SHA256
    assert remote.asked[0]["Range"] is None


@pytest.mark.parametrize("text", [None, b"", b"{", b"\xff", b"3", b"[1, 2]", b'["", "", 0]'])
def test_a_part_without_a_sound_note_is_not_used(remote: Remote, target: Path, text: bytes | None) -> None:
    part(target).write_bytes(OTHER)
    if text is not None:
        note(target).write_bytes(text)
    assert fetch(remote.url, target, most=MOST) == SHA256
    assert remote.asked[0]["Range"] is None


def test_an_interrupt_keeps_the_part(remote: Remote, target: Path) -> None:
    def interrupt(done: int, total: int | None) -> None:
        if done >= 100_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(remote.url, target, most=MOST, report=interrupt)
    size = part(target).stat().st_size
    assert 100_000 <= size < 400_000
    assert part(target).read_bytes() == CONTENT[:size]
    assert json.loads(note(target).read_text()) == [remote.url, '"one"', 400_000]
    assert not target.exists()
    reports: list[int] = []
    assert fetch(remote.url, target, most=MOST, report=lambda done, total: reports.append(done)) == SHA256
    assert remote.sent[1] == 400_000 - size
    assert reports[0] == size


def test_a_reader_of_reports_that_went_away_is_not_an_error_of_the_disk(remote: Remote, target: Path) -> None:
    def gone(done: int, total: int | None) -> None:
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    with pytest.raises(BrokenPipeError):
        fetch(remote.url, target, most=MOST, report=gone)
    assert len(remote.asked) == 1


def test_a_byte_that_differs(remote: Remote, target: Path) -> None:
    remote.content = CONTENT[:1000] + bytes([CONTENT[1000] ^ 1]) + CONTENT[1001:]
    digest = hashlib.sha256(remote.content).hexdigest()
    error = refusal(remote.url, target, sha256=SHA256)
    assert error.message == f"cannot fetch {remote.url}: its sha256 is {digest}, expected {SHA256}"
    assert error.hint == f"try again; or {BY_HAND}"
    assert files(target) == []


def test_a_part_that_was_damaged_is_removed(remote: Remote, target: Path) -> None:
    plant(remote, target)
    with part(target).open("r+b") as file:
        file.write(b"damage")
    refusal(remote.url, target, sha256=SHA256)
    assert files(target) == []
    assert fetch(remote.url, target, sha256=SHA256, most=MOST) == SHA256


@pytest.mark.slow
def test_a_stall_is_a_broken_connection(remote: Remote, target: Path) -> None:
    remote.cuts, remote.stalls = [120_000], True
    started = time.monotonic()
    assert fetch(remote.url, target, most=MOST, timeout=0.4) == SHA256
    assert 0.4 <= time.monotonic() - started < 10
    assert remote.sent == [120_000, 280_000]


@pytest.mark.slow
def test_a_server_that_only_stalls(remote: Remote, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "_PAUSES", (0.01,))
    remote.cuts, remote.stalls = [120_000, 0], True
    error = refusal(remote.url, target, timeout=0.3)
    assert error.message == f"cannot fetch {remote.url}: the connection broke after 120000 of 400000 bytes: timed out"
    assert error.hint == RESUMES
    assert part(target).stat().st_size == 120_000


@pytest.mark.slow
def test_a_server_that_says_nothing(target: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/file"
        error = refusal(url, target, timeout=0.1)
    assert error.message == f"cannot fetch {url}: the connection broke: timed out"
    assert error.hint == f"try again; or {BY_HAND}"
    assert files(target) == []


def test_a_chunk_that_is_cut(remote: Remote, target: Path) -> None:
    remote.chunked, remote.cuts = True, [100_000] * TRIES
    error = refusal(remote.url, target)
    assert error.message.startswith(f"cannot fetch {remote.url}: the connection broke after 9")
    assert " of ? bytes: " in error.message
    assert not target.exists()
    assert fetch(remote.url, target, most=MOST) == SHA256


@pytest.mark.parametrize(
    ("status", "words", "hint"),
    [
        (403, "403 Forbidden", BY_HAND),
        (404, "404 Not Found", BY_HAND),
        (429, "429 Too Many Requests", f"wait, then {RESUMES}"),
        (500, "500 Internal Server Error", f"wait, then {RESUMES}"),
        (503, "503 Service Unavailable", f"wait, then {RESUMES}"),
        (206, "206 Partial Content", BY_HAND),
        (418, "418 I'm a Teapot", BY_HAND),
    ],
)
def test_a_server_that_refuses(remote: Remote, target: Path, status: int, words: str, hint: str) -> None:
    if hint != BY_HAND:
        plant(remote, target)
    remote.status, remote.kind = status, "text/html"
    before = files(target)
    error = refusal(remote.url, target)
    assert error.message == f"cannot fetch {remote.url}: the server says {words}"
    assert error.hint == hint
    assert len(remote.asked) == 1
    assert files(target) == before


def test_a_web_page_instead_of_the_file(remote: Remote, target: Path) -> None:
    plant(remote, target)
    remote.kind, remote.headers = "text/html; charset=utf-8", {}
    error = refusal(remote.url, target)
    assert error.message == f"cannot fetch {remote.url}: the answer is a web page, not a file"
    assert error.hint == BY_HAND
    assert part(target).read_bytes() == CONTENT[:100_000]


@pytest.mark.parametrize("chunked", [False, True])
def test_a_file_that_is_too_large(remote: Remote, target: Path, chunked: bool) -> None:
    remote.chunked = chunked
    reports: list[int] = []
    error = refusal(remote.url, target, most=250_000, report=lambda done, total: reports.append(done))
    least = int(error.message.split("at least ")[1].split()[0])
    assert error.message == f"cannot fetch {remote.url}: it has at least {least} bytes, 250000 are allowed"
    assert least > 250_000 if chunked else least == 400_000
    assert error.hint == "check the address"
    assert max(reports) <= (250_000 if chunked else 0)
    assert files(target) == []


def test_redirects_are_followed(remote: Remote, target: Path) -> None:
    odd = f"http://{remote.host}/ä%20b c".encode().decode("latin-1")
    remote.redirects = {"/1": "2?a=b", "/2?a=b": odd, "/%C3%A4%20b%20c": "/file"}
    assert fetch(f"http://{remote.host}/1", target, most=MOST) == SHA256
    assert len(remote.asked) == 4


def test_a_resumed_download_is_redirected(remote: Remote, target: Path) -> None:
    remote.redirects = {"/1": "/file"}
    remote.cuts = [100_000]
    assert fetch(f"http://{remote.host}/1", target, most=MOST) == SHA256
    assert [asked["Range"] for asked in remote.asked] == [None, None, "bytes=100000-", "bytes=100000-"]


def test_redirects_that_do_not_end(remote: Remote, target: Path) -> None:
    remote.redirects = {"/1": "/2", "/2": "/1"}
    error = refusal(f"http://{remote.host}/1", target)
    assert error.message == f"cannot fetch http://{remote.host}/1: redirected more than 5 times"
    assert error.hint == BY_HAND
    assert len(remote.asked) == 6


@pytest.mark.parametrize("place", ["ftp://127.0.0.1/file", "file:///etc/passwd", "http://[", "http://a..b/", "data:,a"])
def test_redirects_elsewhere_are_refused(remote: Remote, target: Path, place: str) -> None:
    remote.redirects = {"/file": place}
    error = refusal(remote.url, target)
    assert error.message == f"cannot fetch {remote.url}: refusing the redirect to {place}"
    assert error.hint == BY_HAND


def test_redirects_from_https_to_http_are_refused(
    remote: Remote, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Open(http.client.HTTPConnection):
        """Speaks http where https is asked for."""

        def __init__(self, host: str, timeout: float, **options: Any) -> None:
            super().__init__(host, timeout=timeout)

    monkeypatch.setattr(http.client, "HTTPSConnection", Open)
    remote.redirects = {"/1": "/2", "/2": remote.url, "/3": f"https://{remote.host}/file"}
    error = refusal(f"https://{remote.host}/1", target)
    assert error.message == f"cannot fetch https://{remote.host}/1: refusing the redirect to {remote.url}"
    assert fetch(f"http://{remote.host}/3", target, most=MOST) == SHA256


@pytest.mark.parametrize(
    "url",
    ["", "weights.pth", "file:///etc/passwd", "ftp://127.0.0.1/a", "http://", "http:a", "http://[", "http://a:b/",
     "http://a:0/", "http://a:99999/", "http://a..b/", "http://user:word@127.0.0.1/a", "https://a\udcff/"],
)  # fmt: skip
def test_other_addresses(target: Path, url: str) -> None:
    error = refusal(url, target)
    assert error.message == f"cannot fetch {url}: not http or https"
    assert error.hint == BY_HAND
    assert files(target) == []


def test_an_address_with_odd_letters(remote: Remote, target: Path) -> None:
    remote.redirects = {"/k%C3%A4se%20%41?a=b%20c": "/file"}
    assert fetch(f"HTTP://{remote.host}/käse %41?a=b c#d", target, most=MOST) == SHA256


def test_nobody_listens(target: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        host = f"127.0.0.1:{server.getsockname()[1]}"
    error = refusal(f"http://{host}/file", target)
    assert error.message == f"cannot fetch http://{host}/file: cannot reach {host}: {os.strerror(errno.ECONNREFUSED)}"
    assert error.hint == f"check the connection, then try again; or {BY_HAND}"
    assert files(target) == []


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "Name or service not known"),
        (OSError(errno.ENETUNREACH, "Network is unreachable"), "Network is unreachable"),
        (TimeoutError("timed out"), "timed out"),
    ],
)
def test_offline(remote: Remote, target: Path, monkeypatch: pytest.MonkeyPatch, trouble: OSError, words: str) -> None:
    plant(remote, target)

    def resolve(*arguments: Any) -> None:
        raise trouble

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    error = refusal(remote.url, target)
    assert error.message == f"cannot fetch {remote.url}: cannot reach {remote.host}: {words}"
    assert error.hint == f"check the connection, then {RESUMES}"
    assert part(target).stat().st_size == 100_000


def test_a_server_without_tls(remote: Remote, target: Path) -> None:
    error = refusal(f"https://{remote.host}/file", target)
    assert error.message.startswith(f"cannot fetch https://{remote.host}/file: cannot reach {remote.host}: [SSL")
    assert error.hint == f"check the connection, then try again; or {BY_HAND}"


def test_a_server_that_speaks_something_else(target: Path) -> None:
    def greet(server: socket.socket) -> None:
        for _ in range(TRIES):
            connection = server.accept()[0]
            connection.recv(1000)
            connection.sendall(b"220 hello\r\n")
            connection.close()

    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/file"
        thread = threading.Thread(target=greet, args=(server,))
        thread.start()
        error = refusal(url, target)
        thread.join()
    assert error.message == f"cannot fetch {url}: the connection broke: 220 hello\r\n"


def test_a_proxy_that_is_none(remote: Remote, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv("http_proxy", "socks5://127.0.0.1:9")
    error = refusal(remote.url, target)
    assert error.message == f"cannot fetch {remote.url}: cannot reach {remote.host}: unknown url type: socks5"


def test_a_folder_that_is_not_there(remote: Remote, tmp_path: Path) -> None:
    with pytest.raises(OutputError) as caught:
        fetch(remote.url, tmp_path / "no/weights.pth", most=MOST)
    assert caught.value.message == f"no such folder for the output: {tmp_path}/no"
    assert remote.asked == []


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write into every folder")
def test_a_folder_that_takes_nothing(remote: Remote, target: Path) -> None:
    target.parent.chmod(0o500)
    with pytest.raises(OutputError, match=r"^output folder is not writable: "):
        fetch(remote.url, target, most=MOST)
    assert remote.asked == []


def test_a_part_that_cannot_be_written(remote: Remote, target: Path) -> None:
    part(target).mkdir()
    error = refusal(remote.url, target)
    assert error.message == f"cannot fetch {remote.url}: {part(target)}: {os.strerror(errno.EISDIR)}"
    assert error.hint == f"check the free space and the permissions, then try again; or {BY_HAND}"


@pytest.mark.skipif(sys.platform == "win32", reason="limits of file sizes are POSIX")
def test_a_full_disk_keeps_what_fitted(remote: Remote, target: Path) -> None:
    import resource

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (160_000, limits[1]))
    try:
        error = refusal(remote.url, target)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert error.message == f"cannot fetch {remote.url}: {part(target)}: {os.strerror(errno.EFBIG)}"
    assert error.hint == f"check the free space and the permissions, then {RESUMES}"
    assert part(target).read_bytes() == CONTENT[:160_000]
    assert fetch(remote.url, target, sha256=SHA256, most=MOST) == SHA256


def test_nothing_is_written_through_a_planted_link(remote: Remote, target: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    for planted in part_names(target):
        planted.symlink_to(victim)
    assert fetch(remote.url, target, sha256=SHA256, most=MOST) == SHA256
    assert victim.read_bytes() == b"precious"
    assert files(target) == ["victim", "weights.pth"]
    target.unlink()
    for planted in part_names(target):
        os.link(victim, planted)
    assert fetch(remote.url, target, sha256=SHA256, most=MOST) == SHA256
    assert victim.read_bytes() == b"precious"


def test_long_names(remote: Remote, tmp_path: Path) -> None:
    target = tmp_path / ("x" * 255)
    assert fetch(remote.url, target, sha256=SHA256, most=MOST) == SHA256
    assert files(target) == ["x" * 255]


def test_two_runs_do_not_mix(remote: Remote, target: Path) -> None:
    def meddle(done: int, total: int | None) -> None:
        if done:
            with part(target).open("ab") as file:
                file.write(b"of another run")

    error = refusal(remote.url, target, report=meddle)
    assert error.message == f"cannot fetch {remote.url}: another run writes to {part(target)}"
    assert error.hint == "wait until it is done"
    assert not target.exists()
