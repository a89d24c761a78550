from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch

from flowcli import models
from flowcli.cli.main import main
from flowcli.models import flavours
from flowcli.models.flavours import Download
from flowcli.weights import entries
from tests import tiny


def test_lists_what_there_is(table: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    theirs = Download("theirs", "http://127.0.0.1:1/theirs.pth", "somewhere", 12, 3.5)
    publish(monkeypatch, theirs, "not yours")
    file = table / "rpwc.safetensors"
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert main(["models"]) == 0
    out, err = capsys.readouterr()
    assert err == "flowcli models info NAME says more; fetch NAME downloads what others made, under their terms\n"
    assert [re.split(r"  +", line.strip()) for line in out.splitlines()] == [
        ["model", "where", "network", "licence", "parameters", "GMACs"],
        ["rpwc", "here", "brightness", "MIT", "1", "2.5"],
        ["dis", "here", "OpenCV's dense inverse search, preset medium", "Apache-2.0"],
        ["farneback", "here", "OpenCV's polynomial expansion", "Apache-2.0"],
        ["theirs", "to fetch", "spynet", "not yours", "12", "3.5"],
    ]
    assert main(["models", "info", "rpwc"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "rpwc",
        "  network     brightness",
        "  parameters  1",
        "  GMACs       2.5 a pair of 1024x436",
        "  published   none",
        "  measured    nothing",
        "  licence     MIT",
        "  source      made by the tests",
        "  trained     not at all",
        f"  sha256      {digest}",
        f"  file        {file}",
    ]
    assert main(["models", "info", "theirs"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "theirs, which `flowcli models fetch theirs` downloads",
        "  network     spynet",
        "  parameters  12",
        "  GMACs       3.5 a pair of 1024x436",
        "  licence     not yours",
        "  trained     somewhere",
        "  from        http://127.0.0.1:1/theirs.pth",
    ]
    assert main(["models", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["methods"] == ["dis", "farneback"]
    assert found["published"] == [
        {
            "name": "theirs",
            "network": "spynet",
            "url": "http://127.0.0.1:1/theirs.pth",
            "licence": "not yours",
            "trained": "somewhere",
            "parameters": 12,
            "gmacs": 3.5,
            "epe": "",
            "measured": "",
            "sha256": "",
            "file": "",
        }
    ]
    assert found["models"] == [
        {
            "name": "rpwc",
            "network": "brightness",
            "file": str(file),
            "sha256": digest,
            "parameters": 1,
            "licence": "MIT",
            "source": "made by the tests",
            "trained": "not at all",
            "settings": {},
            "gmacs": 2.5,
            "epe": "none",
            "measured": "nothing",
        }
    ]
    for name, listed in (("rpwc", found["models"][0]), ("theirs", found["published"][0])):
        assert main(["models", "info", name, "--json"]) == 0
        assert json.loads(capsys.readouterr().out) == listed
    file.unlink()
    assert main(["models"]) == 0
    assert re.search("^rpwc +missing ", capsys.readouterr().out, re.M)
    assert main(["models", "info", "rpwc"]) == 0
    assert f"\n  file        {file} (missing)\n" in capsys.readouterr().out


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """A file of SpyNet's weights, random ones."""
    torch.manual_seed(0)
    state = models.create("spynet").state_dict()
    named = {name.replace("basic.", "moduleBasic.", 1): tensor for name, tensor in state.items()}
    torch.save({re.sub(r"(Basic\.\d\.)", r"\1moduleBasic.", name): tensor for name, tensor in named.items()},
               tmp_path / "theirs.pth")  # fmt: skip
    return tmp_path / "theirs.pth"


@pytest.mark.slow
def test_import(table: Path, theirs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "import", str(theirs)]) == 0
    assert capsys.readouterr().err.splitlines() == [
        "spynet: SpyNet, from github.com/anuragranj/spynet, "
        "converted by github.com/sniklaus/pytorch-spynet (theirs.pth)",
        "licence: non-commercial research only",
        "use it with --model spynet",
    ]
    assert main(["models", "info", "spynet"]) == 0
    assert capsys.readouterr().out.startswith("spynet\n  network     spynet\n  parameters  1,440,300\n")
    assert main(["models", "import", str(theirs), "--name", "mine", "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["name"] == "mine"
    assert err == ""
    assert main(["models", "import", str(theirs)]) == 1
    assert capsys.readouterr().err.startswith("error: output exists already: ")
    assert main(["models", "import", str(theirs.with_name("gone.pth"))]) == 1
    assert capsys.readouterr().err.startswith("error: cannot read checkpoint: ")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """Where the files in `tmp_path` are to be had."""
    handler = functools.partial(Quiet, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


def publish(monkeypatch: pytest.MonkeyPatch, download: Download, licence: str) -> None:
    """Makes this file of SpyNet's weights the only one that others published, so that no test asks their hosts."""
    spynet = next(flavour for flavour in flavours.flavours() if flavour.name == "spynet")
    only = dataclasses.replace(spynet, licence=licence, downloads=(download,))
    monkeypatch.setattr(flavours, "flavours", lambda: (only,))


def far(url: str, sha256: str = "") -> Download:
    return Download("far", url, "far away", 1440300, 146.7, "1 or 2", "3", sha256)


@pytest.mark.slow
def test_fetch(
    table: Path,
    theirs: Path,
    server: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    digest = hashlib.sha256(theirs.read_bytes()).hexdigest()
    publish(monkeypatch, far(f"{server}/theirs.pth", digest[:8]), "theirs")
    assert main(["models", "fetch", "far"]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert lines[:2] == [f"far: {server}/theirs.pth", "licence: theirs"]
    assert lines[-1] == "use it with --model far"
    assert "nothing vouches for this file: only 8 digits of its sha256 are stated, and it came over plain http" in lines
    assert f"its sha256 is kept, and compared from now on: {digest}" in lines
    assert sorted(path.name for path in entries.home().iterdir()) == ["far.safetensors", "fetched.json"]
    assert main(["models", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [each["name"] for each in found["models"]] == ["rpwc", "far"]
    assert (found["models"][1]["epe"], found["models"][1]["measured"]) == ("1 or 2", "3")
    assert found["published"] == [], "it is here"
    assert main(["models", "fetch", "far"]) == 1
    assert capsys.readouterr().err.startswith("error: output exists already: ")
    assert main(["models", "remove", "far", "-q"]) == 0
    folder = tiny.write_pictures(tmp_path / "frames", 2, height=40, width=50)
    arguments = ["estimate", str(folder), "-o", str(tmp_path / "out"), "-m", "far", "--device", "cpu"]
    assert main(arguments) == 1
    assert capsys.readouterr().err.splitlines() == [
        "error: model far is listed, but its weights are not fetched yet",
        "hint: add --fetch, or run: flowcli models fetch far (licence: theirs)",
    ]
    assert main([*arguments, "--fetch"]) == 0
    told = capsys.readouterr().err.splitlines()
    assert told[:2] == lines[:2], "its address and licence"
    assert told[-1].startswith(f"wrote {tmp_path}/out")
    assert main([*arguments, "--fetch", "-y", "-q"]) == 0
    assert capsys.readouterr().err == "", "it is here"


@pytest.mark.slow
def test_a_file_whose_address_does_not_say_what_it_is_called(
    table: Path, theirs: Path, server: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    address = far(f"{server}/theirs.pth?export=download&id=1")
    publish(monkeypatch, dataclasses.replace(address, file="spynet.pth"), "theirs")
    assert main(["models", "fetch", "far", "-q"]) == 0
    assert sorted(path.name for path in entries.home().iterdir()) == ["far.safetensors", "fetched.json"]
    assert entries.resolve("far").source.endswith(" (spynet.pth)")


@pytest.mark.slow
def test_another_file_than_the_first_time(
    table: Path, theirs: Path, server: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    publish(monkeypatch, far(f"{server}/theirs.pth"), "theirs")
    first = hashlib.sha256(theirs.read_bytes()).hexdigest()
    assert main(["models", "fetch", "far"]) == 0
    assert "nothing vouches for this file: no hash is stated, and it came" in capsys.readouterr().err
    assert main(["models", "fetch", "far", "-y"]) == 0
    assert "nothing vouches" not in capsys.readouterr().err
    state = torch.load(theirs, weights_only=True)
    next(iter(state.values())).add_(1)
    torch.save(state, theirs)
    then = hashlib.sha256(theirs.read_bytes()).hexdigest()
    kept = (entries.home() / "far.safetensors").read_bytes()
    assert main(["models", "fetch", "far", "-y", "-q"]) == 1
    error, hint = capsys.readouterr().err.splitlines()
    assert error == f"error: {server}/theirs.pth has the sha256 {then}, and had {first} the first time"
    assert hint.endswith(f"to accept it, remove its line from {entries.home()}/fetched.json")
    assert (entries.home() / "far.safetensors").read_bytes() == kept
    (entries.home() / "fetched.json").write_text("[" * 100_000)
    assert main(["models", "fetch", "far", "-y", "-q"]) == 1
    assert capsys.readouterr().err.startswith("error: cannot read the hashes of earlier downloads: ")


@pytest.mark.slow
def test_a_bad_file_among_others(table: Path, theirs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "import", str(theirs), "--name", "mine", "-q"]) == 0
    (entries.home() / "bad.safetensors").write_bytes(b"junk")
    (entries.home() / "endless.safetensors").symlink_to("/dev/zero")
    assert main(["models"]) == 0
    out, err = capsys.readouterr()
    assert re.search("^mine +here +spynet ", out, re.M)
    assert f"not a safetensors file, or a damaged one: {entries.home()}/bad.safetensors: " in err
    assert f"cannot read weights: {entries.home()}/endless.safetensors: not a file but a device or a pipe" in err
    assert main(["models", "--json"]) == 0
    assert [each["name"] for each in json.loads(capsys.readouterr().out)["models"]] == ["rpwc", "mine"]


def test_fetch_of_something_else(
    table: Path, theirs: Path, server: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    publish(monkeypatch, far(f"{server}/theirs.pth", "01234567"), "theirs")
    assert main(["models", "fetch", "far", "-q"]) == 1
    assert "has the sha256 " in capsys.readouterr().err
    publish(monkeypatch, far(f"{server}/gone.pth"), "theirs")
    assert main(["models", "fetch", "far", "-q"]) == 1
    assert "the server says 404" in capsys.readouterr().err
    assert list(entries.home().iterdir()) == []
    assert main(["models", "fetch", "near"]) == 2
    assert capsys.readouterr().err == "error: no weights to fetch are called near\nhint: there are: far\n"


def test_weights_in_a_file_for_a_network_that_is_named(
    table: Path, theirs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tiny.write_pictures(tmp_path / "frames", 2, height=40, width=50)
    arguments = ["estimate", str(folder), "-o", str(tmp_path / "out"), "--weights", str(theirs), "--device", "cpu"]
    assert main([*arguments, "--model", "spynet", "-q"]) == 0
    assert (tmp_path / "out" / "f0.flo").is_file()
    capsys.readouterr()
    assert main([*arguments, "-y"]) == 1
    assert capsys.readouterr().err == (
        f"error: {theirs} holds weights of spynet, not of rpwc\nhint: pass --model spynet\n"
    )


def test_remove(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    entries.home().mkdir(parents=True)
    mine = entries.home() / "mine.safetensors"
    for name, message in (
        ("mine", "error: no model of yours is called mine\nhint: nothing was fetched or imported\n"),
        ("rpwc", "error: rpwc belongs to flowcli\nhint: only what was fetched or imported can be removed\n"),
        ("dis", "error: dis belongs to flowcli\nhint: only what was fetched or imported can be removed\n"),
        ("../mine", "error: no model of yours is called ../mine\nhint: nothing was fetched or imported\n"),
    ):
        assert main(["models", "remove", name]) == 2
        assert capsys.readouterr().err == message
    mine.write_bytes((table / "rpwc.safetensors").read_bytes())
    assert main(["models", "remove", "other"]) == 2
    assert capsys.readouterr().err.endswith("hint: there are: mine\n")
    assert main(["models", "remove", "mine"]) == 0
    assert capsys.readouterr().err == f"removed mine: {mine}\n"
    assert not mine.exists()
