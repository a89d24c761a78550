from __future__ import annotations

import dataclasses
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from flowcli import models
from flowcli.errors import OutputError, WeightsError
from flowcli.models.base import FrameModel
from flowcli.weights import entries, loading, recognition
from flowcli.weights.importing import import_weights
from flowcli.weights.recognition import recognise
from tests.lua import Lua, whole

KEYS = Path(__file__).parents[1] / "models/flow/keys"
FRAME_KEYS = Path(__file__).parents[1] / "models/frame/keys"
"""Names and shapes in files of others; each list says where it is from."""
KNOWN: dict[str, tuple[str, dict[str, Any]]] = {
    "pwcnet": ("pwcnet", {}),
    "spynet": ("spynet", {}),
    "flownets": ("flownets", {}),
    "flownets-bn": ("flownets", {"norm": True}),
    "flownetc": ("flownetc", {}),
    "flownet2": ("flownet2", {"variant": "full"}),
    **{f"flownet2-{part}": ("flownet2", {"variant": part}) for part in ("c", "s", "sd", "cs", "css")},
}
NVIDIAS = {"ptlflow-flownetc": "flownet2-c", "ptlflow-flownets": "flownet2-s", "ptlflow-flownet2": "flownet2"}
NVIDIAS |= {f"ptlflow-flownet{part}": f"flownet2-{part}" for part in ("cs", "css", "sd")}
PLAIN = {"order": "bgr", "mean": (0.0, 0.0, 0.0), "bias": True}
STACKED = {"order": "bgr", "centre": False}
OTHERS: dict[str, tuple[str, str, dict[str, Any]]] = {
    **{theirs: (ours, "flownet2", KNOWN[ours][1]) for theirs, ours in NVIDIAS.items()},
    "ptlflow-pwcnet": ("pwcnet", "pwcnet", {}),
    "ptlflow-pwcnet_nodc": ("pwcnet-nodc", "pwcnet", {}),
    "sniklaus-pwcnet": ("pwcnet", "pwcnet", {}),
    "mmflow-pwcnet": ("pwcnet", "pwcnet", {}),
    "mmflow-flownets": ("flownets", "flownets", PLAIN),
    "mmflow-flownetc": ("flownetc", "flownetc", PLAIN),
    "mmflow-flownet2": ("flownet2", "flownet2", {"variant": "full", **STACKED}),
    "mmflow-flownet2cs": ("flownet2-cs", "flownet2", {"variant": "cs", **STACKED}),
    "mmflow-flownet2css": ("flownet2-css", "flownet2", {"variant": "css", **STACKED, "last": "bilinear"}),
    "mmflow-flownet2sd": ("flownet2-sd", "flownet2", {"variant": "sd", **STACKED}),
}
FILES = {**{name: (name, *known) for name, known in KNOWN.items()}, **OTHERS, "videoinr": ("videoinr", "videoinr", {})}


def listed(name: str) -> dict[str, Tensor]:
    """Zeros by the names of that list, which take no memory."""
    (path,) = (folder / f"{name}.json" for folder in (KEYS, FRAME_KEYS) if (folder / f"{name}.json").is_file())
    keys = json.loads(path.read_text())["keys"]
    return {key: torch.zeros(()).expand(shape) for key, shape in keys}


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return tmp_path / "data" / "flowcli" / "weights"


def spynet_file(path: Path, prefix: str = "module") -> Path:
    """A file as the PyTorch port of SpyNet has it, with random weights."""
    torch.manual_seed(0)
    names = json.loads((KEYS / "spynet.json").read_text())["keys"]
    torch.save({key.replace("net", prefix): 0.05 * torch.randn(shape) for key, shape in names}, path)
    return path


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_known_by_its_names_and_shapes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    state = listed(name)
    monkeypatch.setattr(recognition, "read_checkpoint", lambda path: state)
    seen = recognise(Path("any.pth"))
    flavour = seen.flavour
    assert (flavour.name, flavour.network, flavour.settings) == FILES[name]
    with torch.device("meta"):
        model = models.find(flavour.network)(**flavour.settings)
    # Not strict in torch's sense: names and shapes have to be the very same.
    assert {key: tensor.shape for key, tensor in seen.state.items()} == {
        key: tensor.shape for key, tensor in model.state_dict().items()
    }


def test_what_only_the_name_of_a_file_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recognition, "read_checkpoint", lambda path: listed("flownets"))
    flavour = recognise(Path("FlowNetS_from_Caffe.pth")).flavour
    assert (flavour.name, flavour.settings) == ("flownets-caffe", {"order": "bgr"})


def test_counters_of_batch_normalisation_may_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    state = {key: value for key, value in listed("flownets-bn").items() if not key.endswith("num_batches_tracked")}
    monkeypatch.setattr(recognition, "read_checkpoint", lambda path: state)
    seen = recognise(Path("old.pth"))
    assert seen.flavour.name == "flownets-bn"
    assert seen.state["net.conv1.1.num_batches_tracked"].item() == 0


def torch7_set(folder: Path, tag: str, levels: int) -> list[list[np.ndarray]]:
    """Files as SpyNet's authors have them; the weights and biases in them, by level."""
    random, channels = np.random.default_rng(0), (8, 32, 64, 32, 16, 2)
    sets = []
    for level in range(1, levels + 1):
        lua, layers, arrays = Lua(), [], []
        for inputs, outputs in itertools.pairwise(channels):
            weight = 0.05 * random.standard_normal((outputs, inputs, 7, 7), np.float32)
            bias = random.standard_normal(outputs, np.float32)
            layers += [lua.convolution(weight, bias, "cudnn.SpatialConvolution"), lua.layer("cudnn.ReLU")]
            arrays += [weight, bias]
        (folder / f"modelL{level}_{tag}.t7").write_bytes(whole(lua.sequential(*layers[:-1])))
        sets.append(arrays)
    return sets


@pytest.mark.slow
@pytest.mark.parametrize(("tag", "levels"), [("F", (1, 2, 3, 4, 5, 6)), ("3", (1, 2, 3, 4, 5, 5))])
def test_the_files_of_spynets_authors_are_one(tmp_path: Path, tag: str, levels: tuple[int, ...]) -> None:
    arrays = torch7_set(tmp_path, tag, max(levels))
    seen = recognise(tmp_path / f"modelL2_{tag}.t7")
    state = seen.state
    assert (seen.flavour.name, seen.flavour.source) == ("spynet", "github.com/anuragranj/spynet")
    names = [f"basic.{n}.{layer}.{kind}" for n in range(6) for layer in range(0, 10, 2) for kind in ("weight", "bias")]
    assert sorted(state) == sorted(names)
    expected = [array for level in levels for array in arrays[level - 1]]
    for name, array in zip(names, expected, strict=True):
        np.testing.assert_array_equal(state[name], array)
    assert import_weights(tmp_path / f"modelL1_{tag}.t7").name == "spynet"
    (tmp_path / f"modelL4_{tag}.t7").unlink()
    with pytest.raises(
        WeightsError, match=rf"^one of the files of SpyNet in Torch7 is not there: {tmp_path}/modelL4_{tag}\.t7$"
    ):
        recognise(tmp_path / f"modelL1_{tag}.t7")


def test_a_network_without_its_context_network(monkeypatch: pytest.MonkeyPatch) -> None:
    state = listed("ptlflow-pwcnet_nodc")
    monkeypatch.setattr(recognition, "read_checkpoint", lambda path: state)
    renamed = recognise(Path("a.ckpt")).state
    context = {name for name in renamed if name.startswith("dc_conv")}
    assert len(context) == 14
    assert not any(renamed[name].any() for name in context)
    state["dc_conv7.weight"] = torch.zeros(2, 32, 3, 3)
    with pytest.raises(WeightsError, match=r"^weights of no network that is known: .*; nearest is PWC-Net, "):
        recognise(Path("a.ckpt"))


@pytest.mark.slow
@pytest.mark.parametrize("prefix", ["net", "module"])
def test_imported_weights_have_a_name_from_then_on(tmp_path: Path, own_folder: Path, prefix: str) -> None:
    file = spynet_file(tmp_path / "network.pytorch", prefix)
    entry = import_weights(file)
    assert (entry.name, entry.network, entry.file) == ("spynet", "spynet", own_folder / "spynet.safetensors")
    assert entry == entries.resolve("spynet")
    assert entry.licence == "non-commercial research only"
    assert entry.source.endswith("(network.pytorch)")
    mine, theirs = loading.load(entry), recognition.load(file, "spynet")
    for one, other in zip(mine.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(one, other)
    with pytest.raises(OutputError, match=r"^output exists already: "):
        import_weights(file)
    again = import_weights(file, overwrite=True)
    # The order in which a file keeps its metadata is not fixed, and so its hash is not.
    assert dataclasses.replace(again, sha256=entry.sha256) == entry
    assert import_weights(file, "other").name == "other"


@pytest.mark.slow
def test_weights_of_a_network_that_makes_frames(tmp_path: Path, own_folder: Path) -> None:
    torch.manual_seed(0)
    state = {key: 0.02 * torch.randn(tensor.shape) for key, tensor in listed("videoinr").items()}
    file = tmp_path / "latest_G.pth"
    torch.save(state, file)
    entry = import_weights(file, epe="PSNR")
    assert (entry.name, entry.network, entry.file) == ("videoinr", "videoinr", own_folder / "videoinr.safetensors")
    assert (entry.licence, entry.epe) == ("none stated, so all rights are reserved", "PSNR")
    assert entry.parameters == 11_312_698 - 334_083
    model = loading.load_as(FrameModel, entry)
    assert torch.equal(model.get_parameter("decoder.colour.layers.4.bias"), state["encode_imnet.net.4.bias"])
    with pytest.raises(WeightsError, match=r"^network videoinr makes frames, not flow$"):
        loading.load(entry)
    assert failure(file, "rpwc").message == f"{file} holds weights of videoinr, not of rpwc"
    state["encode_imnet.net.4.bias"][0] = torch.nan
    torch.save(state, file)
    with pytest.raises(WeightsError, match=r"^VideoINR gives no frames with the weights "):
        import_weights(file, "other")


def failure(path: Path, network: str | None = None) -> WeightsError:
    with pytest.raises(WeightsError) as caught:
        recognition.load(path, network)
    return caught.value


def test_weights_of_nothing_that_is_known(tmp_path: Path) -> None:
    state = torch.load(spynet_file(tmp_path / "a.pth"), weights_only=True)
    del state["moduleBasic.3.moduleBasic.4.bias"]
    torch.save(state, tmp_path / "b.pth")
    error = failure(tmp_path / "b.pth")
    assert error.message == (
        f"weights of no network that is known: {tmp_path / 'b.pth'} has 59 tensors; "
        "nearest is SpyNet, of which it has 59 tensors"
    )
    assert error.hint.startswith("known are FlowNet2, FlowNet2-C, ")


def test_names_that_are_almost_known(tmp_path: Path) -> None:
    names = ("netAbc.netUpflow", "netExtractor.netXyz.0", "decoder.decoders.level9.predict_layer", "0.0", "conv", "")
    torch.save({f"{name}.weight": torch.zeros(1) for name in names}, tmp_path / "a.pth")
    message = f"weights of no network that is known: {tmp_path / 'a.pth'} has 6 tensors"
    assert failure(tmp_path / "a.pth").message == message


def test_weights_of_another_network_than_wanted(tmp_path: Path) -> None:
    file = spynet_file(tmp_path / "a.pth")
    error = failure(file, "pwcnet")
    assert error.message == f"{file} holds weights of spynet, not of pwcnet"
    assert error.hint == "pass --model spynet"


def test_settings_that_the_network_does_not_have(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"^settings do not fit SpyNet, .*refine"):
        recognition.load(spynet_file(tmp_path / "a.pth"), refine=3)


def test_weights_that_give_no_flow_are_not_kept(tmp_path: Path, own_folder: Path) -> None:
    state = torch.load(spynet_file(tmp_path / "a.pth"), weights_only=True)
    state["moduleBasic.0.moduleBasic.0.bias"][0] = torch.nan
    torch.save(state, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match=r"^SpyNet gives no flow with the weights "):
        import_weights(tmp_path / "a.pth")
    assert not own_folder.exists()
