from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from flowcli.errors import WeightsError
from flowcli.weights import entries, loading
from tests.tiny import write_weights


def failure(name: str) -> WeightsError:
    with pytest.raises(WeightsError) as caught:
        entries.resolve(name)
    assert "\n" not in caught.value.message
    assert caught.value.hint
    return caught.value


def test_table_gives_entries(table: Path) -> None:
    (entry,) = entries.entries()
    assert (entry.name, entry.network, entry.file) == ("rpwc", "brightness", table / "rpwc.safetensors")
    assert (entry.parameters, entry.licence, entry.settings) == (1, "MIT", {})
    assert entries.resolve("rpwc") == entry


def test_a_file_describes_itself(table: Path, tmp_path: Path) -> None:
    digest = write_weights(tmp_path / "mine.safetensors", settings='{"gain": 3.0}')
    entry = entries.resolve(str(tmp_path / "mine.safetensors"))
    assert (entry.name, entry.network, entry.parameters, entry.sha256) == ("mine", "brightness", 1, digest)
    assert entry.settings == {"gain": 3.0}
    assert loading.load(entry).gain == 3.0
    assert loading.load(entry, refine=2).gain == 6.0


def test_unknown_names(table: Path) -> None:
    error = failure("rpcw")
    assert (error.message, error.hint) == ("unknown model: rpcw", "did you mean rpwc?")
    assert failure("zzz").hint == "there are: rpwc, dis, farneback; or name a .safetensors file"
    assert failure("no.safetensors").message == "cannot read weights: no.safetensors: No such file or directory"


def test_weights_of_the_users_own_folder_have_names(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert entries.imported() == ([], [])
    entries.home().mkdir(parents=True)
    write_weights(entries.home() / "mine.safetensors", settings='{"gain": 2}')
    (entry,), _ = entries.imported()
    assert entry == entries.resolve("mine")
    assert (entry.name, entry.network, entry.settings) == ("mine", "brightness", {"gain": 2})
    assert failure("mind").hint.startswith("did you mean mine?")


def test_damaged_table(table: Path) -> None:
    toml = table / "models.toml"
    for text in ("[rpwc", "[rpwc]\n", '[rpwc]\nfile = "x"\nspeed = 3\n', "rpwc = 3\n"):
        toml.write_text(text)
        assert failure("rpwc").message.startswith(f"list of weights is damaged: {toml}: ")
    shutil.rmtree(table)
    assert failure("rpwc").message == f"list of weights is missing: {toml}: No such file or directory"
