from __future__ import annotations

import sys
from pathlib import Path

import pytest

from flowcli import doctor
from flowcli.ops import native


def found(name: str) -> doctor.Check:
    (check,) = [check for check in doctor.checks() if check.name == name]
    return check


def test_a_sound_installation(table: Path) -> None:
    checks = list(doctor.checks())
    names = [check.name for check in checks]
    assert names == ["python", "ffmpeg", "weights rpwc", "torch", "device", "cpu", "kernel", "cache", "estimate"]
    assert [check.name for check in checks if check.status == "fail"] == []
    assert all(check.hint for check in checks if check.status != "ok")
    assert found("python").text.endswith(f" at {sys.executable}")
    assert found("weights rpwc").text == f"verified, at {table / 'rpwc.safetensors'}"


def test_old_python(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_OLDEST", (99, 0))
    check = found("python")
    assert (check.status, check.hint) == ("fail", "install Python 99.0 or newer")


def test_no_ffmpeg(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOWCLI_FFMPEG", "/nowhere/ffmpeg")
    check = found("ffmpeg")
    assert check.status == "fail"
    assert "/nowhere/ffmpeg" in check.text
    assert check.hint


def test_damaged_weights(table: Path) -> None:
    (table / "rpwc.safetensors").write_bytes(b"damaged")
    check = found("weights rpwc")
    assert check.status == "fail"
    assert check.text.startswith(f"weights are damaged: {table / 'rpwc.safetensors'}: sha256 is ")
    assert check.hint == "install flowcli again"
    assert found("estimate").status == "fail"


def test_damaged_weights_of_another_model_are_a_warning(table: Path) -> None:
    entry = (table / "models.toml").read_text().replace("rpwc", "other")
    with (table / "models.toml").open("a") as file:
        file.write(entry)
    (table / "other.safetensors").write_bytes(b"damaged")
    assert found("weights other").status == "warn"
    assert found("weights rpwc").status == "ok"


def test_no_weights(table: Path) -> None:
    (table / "models.toml").unlink()
    check = found("weights")
    assert check.status == "fail"
    assert check.text == f"list of weights is missing: {table / 'models.toml'}: No such file or directory"


def test_no_default_model(table: Path) -> None:
    text = (table / "models.toml").read_text().replace("[rpwc]", "[other]")
    (table / "models.toml").write_text(text)
    assert found("weights").text == "the default model rpwc is not there"


def test_no_native_kernel(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "ensure", lambda device: native.NativeStatus("fallback", "no compiler", hint="get one"))
    check = found("kernel")
    assert (check.status, check.hint) == ("warn", "get one")
    assert check.text.startswith("slower torch kernels on ")
    assert check.text.endswith(": no compiler")
