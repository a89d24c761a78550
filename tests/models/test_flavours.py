"""What every flavour in the folders `published` has to hold to, and that a new family of networks needs no list."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from flowcli import models
from flowcli.errors import WeightsError
from flowcli.models.flavours import Download, Flavour, downloads, flavours, prefixed, renamed, scale
from flowcli.weights import entries, loading
from flowcli.weights.importing import import_weights


def test_every_published_network_of_flow_is_listed() -> None:
    published = {flavour.network for flavour in flavours()}
    assert {"pwcnet", "spynet", "flownets", "flownetc", "flownet2"} <= published
    assert "rpwc" not in published


@pytest.mark.parametrize("flavour", flavours(), ids=lambda flavour: flavour.title)
def test_a_flavour_says_what_it_is(flavour: Flavour) -> None:
    assert flavour.name
    assert flavour.licence
    assert re.match(r"github\.com/[\w.-]+/[\w.-]+", flavour.source)
    with torch.device("meta"):
        models.find(flavour.network)(**flavour.settings)


def test_titles_and_names_of_downloads_are_told_apart() -> None:
    titles = [flavour.title for flavour in flavours()]
    assert len(set(titles)) == len(titles)
    names = [download.name for _, download in downloads()]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("download", [download for _, download in downloads()], ids=lambda download: download.name)
def test_a_download_can_be_asked_for(download: Download) -> None:
    assert re.fullmatch(r"https?://[\w.-]+(/[\w.-]+)+(\?[\w=&-]+)?", download.url)
    assert re.fullmatch(r"[\w.-]+", download.file or download.url.rpartition("/")[2])
    assert re.fullmatch(r"([0-9a-f]{8}|[0-9a-f]{64})?", download.sha256)


def test_the_first_rule_that_fits_gives_the_name() -> None:
    one, two, three = torch.ones(3, 1).unbind()
    rules = ((r"layer(\d)", r"conv\1.0"), (r"layer(\w)", lambda match: match[1].upper()))
    state = {"layer4.weight": one, "layerx.bias": two, "alayer4.bias": three}
    assert renamed(state, rules) == {"conv4.0.weight": one, "X.bias": two, "no rule for alayer4.bias": three}
    assert prefixed({"weight": one}, "net.") == {"net.weight": one}


def test_scaling_changes_a_copy() -> None:
    given = torch.ones(2, 3)
    state: dict[str, Tensor] = {"a": given, "b": given}
    scale(state, "a", slice(1, None), 5)
    scale(state, "b", slice(0, 1), 7, dimension=0)
    scale(state, "missing", slice(None), 9)
    assert state["a"].tolist() == [[1, 5, 5], [1, 5, 5]]
    assert state["b"].tolist() == [[7, 7, 7], [1, 1, 1]]
    assert given.eq(1).all()
    assert list(state) == ["a", "b"]


NETWORK = """
import torch
from torch import nn
from flowcli.models.base import Network

class Blend(Network):
    makes = "frames"

    def __init__(self, bias: float = 0.0) -> None:
        super().__init__()
        self.bias = bias
        self.share = nn.Parameter(torch.zeros(1))

    def result(self, first, second):
        return self.share * first + (1 - self.share) * second + self.bias

MODEL = Blend
"""
PUBLISHED = """
from flowcli.models.flavours import Download, Flavour

def rename(state):
    return {"share": state["alpha"]} if "alpha" in state else {}

FILE = Download("blend-old", "https://localhost/blend.pth", "nothing", 1, 0.0)
FLAVOURS = (
    Flavour("blend", "Blend", "blend", rename, "MIT", "github.com/some/one", {"bias": 0.5}, (FILE,)),
)
"""


@pytest.fixture
def family(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A family of networks with one network, `blend`, that others published."""
    published = tmp_path / "models" / "picture" / "published"
    published.mkdir(parents=True)
    for folder in (published, published.parent):
        (folder / "__init__.py").touch()
    (published.parent / "blend.py").write_text(NETWORK)
    (published.parent / "_parts.py").touch()
    (published / "blend.py").write_text(PUBLISHED)
    monkeypatch.setattr(models, "__path__", [*models.__path__, str(tmp_path / "models")])
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith("flowcli.models.picture"):
            del sys.modules[name]


@pytest.mark.usefixtures("family")
def test_a_family_is_known_by_its_folder(tmp_path: Path) -> None:
    assert models.families()["picture"] == ["blend"]
    assert "blend" not in models.names()
    assert [download.name for flavour, download in downloads() if flavour.network == "blend"] == ["blend-old"]
    torch.save({"alpha": torch.full((1,), 0.25)}, tmp_path / "blend.pth")
    entry = import_weights(tmp_path / "blend.pth")
    assert (entry.name, entry.network, entry.settings) == ("blend", "blend", {"bias": 0.5})
    assert entry in entries.imported()[0]
    model = loading.load_as(models.find("blend"), entry)
    assert model.result(torch.zeros(1), torch.ones(1)).item() == 1.25
    with pytest.raises(WeightsError) as caught:
        loading.load(entry)
    assert caught.value.message == "network blend makes frames, not flow"
    assert caught.value.hint == "choose another model"
    with pytest.raises(ValueError, match=r"^unknown network 'blend'; there are: flownet2, "):
        models.create("blend")
    torch.save({"alpha": torch.full((1,), torch.nan)}, tmp_path / "blend.pth")
    with pytest.raises(WeightsError, match=r"^Blend gives no frames with the weights "):
        import_weights(tmp_path / "blend.pth", "other")


def test_an_unknown_network_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^unknown network 'raft'; there are: .*rpwc"):
        models.find("raft")
