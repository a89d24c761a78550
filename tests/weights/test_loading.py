from __future__ import annotations

import hashlib
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from flowcli import models
from flowcli.errors import WeightsError
from flowcli.models.conv import Conv
from flowcli.weights import entries, files, loading
from tests.tiny import write_weights


def failure(name: str, **settings: object) -> WeightsError:
    with pytest.raises(WeightsError) as caught:
        loading.load(entries.resolve(name), **settings)
    assert "\n" not in caught.value.message
    assert caught.value.hint
    return caught.value


def test_loads_by_name_and_by_file(table: Path) -> None:
    for name in ("rpwc", str(table / "rpwc.safetensors")):
        model = loading.load(entries.resolve(name))
        assert model.state_dict()["down"].item() == 0.5
        assert not model.training


@pytest.mark.slow
def test_ranges_of_what_goes_into_convolutions(tmp_path: Path) -> None:
    def written(ranges: str) -> str:
        metadata = {"network": "rpwc", "ranges": ranges}
        save_file(models.create("rpwc").state_dict(), tmp_path / "mine.safetensors", metadata)
        return str(tmp_path / "mine.safetensors")

    model = loading.load(entries.resolve(written('{"update.gate": [0, 12.5], "up.mask.0": [-3.5, 1]}')))
    assert model.ranges == {"update.gate": (0.0, 12.5), "up.mask.0": (-3.5, 1.0)}
    assert model.precisions == ("int8", "fp32", "bf16", "fp16")
    assert loading.load(entries.resolve(written("{}"))).precisions == ("fp32", "bf16", "fp16")
    for damaged in (
        '{"update.gate": [1, 12.5]}',
        '{"update.gate": [0, -1]}',
        '{"update.gate": [0, Infinity]}',
        '{"update.gate": [NaN, 1]}',
        '{"update.gate": 3}',
        '{"update.gate": ["low", "high"]}',
        '{"update": [0, 1]}',
        '{"missing": [0, 1]}',
        '[["update.gate", [0, 1]]]',
        '{"update.gate',
    ):
        error = failure(written(damaged))
        assert error.message.startswith(f"ranges of the weights are damaged: {tmp_path / 'mine.safetensors'}: ")


def test_the_weights_that_flowcli_carries_have_ranges() -> None:
    model = loading.load(entries.resolve("rpwc"))
    whole = {name for name, module in model.named_modules() if isinstance(module, Conv) and not module.precise}
    assert set(model.ranges) == whole


@pytest.mark.parametrize("own", [False, True])
def test_a_file_is_hashed_once(table: Path, monkeypatch: pytest.MonkeyPatch, own: bool) -> None:
    hashed: list[Path] = []
    digest = files.sha256

    def count(path: Path) -> str:
        hashed.append(path)
        return digest(path)

    monkeypatch.setattr(files, "sha256", count)
    file = table / "rpwc.safetensors"
    loading.load(entries.resolve(str(file) if own else "rpwc"))
    assert hashed == [file]


def test_damaged_weights(table: Path) -> None:
    file = table / "rpwc.safetensors"
    entry = entries.resolve("rpwc")
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    error = failure("rpwc")
    assert error.message == f"weights are damaged: {file}: sha256 is {digest}, expected {entry.sha256}"
    assert error.hint == "install flowcli again"
    file.unlink()
    assert failure("rpwc").message == f"cannot read weights: {file}: No such file or directory"


@pytest.mark.parametrize("content", [b"", b"junk", b"\xff" * 64, b"\x10\0\0\0\0\0\0\0{}"])
def test_not_a_safetensors_file(table: Path, tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "bad.safetensors"
    file.write_bytes(content)
    assert failure(str(file)).message.startswith(f"not a safetensors file, or a damaged one: {file}: ")


def test_truncated_safetensors_file(table: Path, tmp_path: Path) -> None:
    file = tmp_path / "cut.safetensors"
    write_weights(file)
    file.write_bytes(file.read_bytes()[:-2])
    assert failure(str(file)).message.startswith(f"not a safetensors file, or a damaged one: {file}: ")


def test_weights_of_another_network(table: Path, tmp_path: Path) -> None:
    file = tmp_path / "other.safetensors"
    write_weights(file, up=torch.zeros(2), side=torch.zeros(1))
    message = f"weights are not of network brightness: {file}: down is missing and 2 more"
    assert failure(str(file)).message == message
    write_weights(file, down=torch.zeros(1), up=torch.zeros(2))
    assert failure(str(file)).message == f"weights are not of network brightness: {file}: up is too many"
    write_weights(file, down=torch.zeros(2))
    assert failure(str(file)).message == f"weights are not of network brightness: {file}: down is (2,), not (1,)"
    write_weights(file, network="raft")
    assert failure(str(file)).message == f"weights name no known network: raft: {file}"
    write_weights(file, network="")
    assert failure(str(file)).message == f"weights do not name their network: {file}"


def test_settings_that_do_not_fit(table: Path, tmp_path: Path) -> None:
    file = tmp_path / "odd.safetensors"
    write_weights(file, settings='{"depth": 3}')
    assert failure(str(file)).message.startswith("settings do not fit network brightness: ")
    write_weights(file, settings="[]")
    assert failure(str(file)).message == f"settings of the weights are not a JSON object: {file}"
    write_weights(file, settings="{")
    assert failure(str(file)).message.startswith(f"settings of the weights are not JSON: {file}: ")
    assert failure("rpwc", depth=3).message.startswith("settings do not fit network brightness: ")


class Hostile:
    """Writes a file when it is unpickled without care."""

    def __init__(self, touched: Path) -> None:
        self.touched = touched

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.touched,)


def test_hostile_pickle_under_a_safe_name(table: Path, tmp_path: Path) -> None:
    touched, file = tmp_path / "touched", tmp_path / "x.safetensors"
    file.write_bytes(pickle.dumps(Hostile(touched)))
    assert failure(str(file)).message.startswith(f"not a safetensors file, or a damaged one: {file}: ")
    assert not touched.exists()


def test_what_others_published_has_no_network_before_it_is_read(table: Path, tmp_path: Path) -> None:
    file = tmp_path / "net.pth.tar"
    file.write_bytes(b"anything")
    entry = entries.resolve(str(file))
    assert (entry.network, entry.file) == ("", file)
    assert failure(str(file)).message == f"weights do not name their network: {file}"
    assert failure("gone.pth").message == "cannot read weights: gone.pth: No such file or directory"


def test_shipped_entries_are_whole() -> None:
    if not (entries.folder() / "models.toml").exists():
        pytest.skip("no weights in this checkout yet")
    for entry in entries.entries():
        assert entry.network in models.names()
        assert entry.licence
        assert entry.source
        assert entry.trained
        model = loading.load(entry)
        assert sum(tensor.numel() for tensor in model.state_dict().values()) == entry.parameters
