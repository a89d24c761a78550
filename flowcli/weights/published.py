"""Weights that others published: whose a file is, told by the names and shapes in it, and what they may be used for."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from flowcli import models
from flowcli.atomic import Part
from flowcli.errors import WeightsError
from flowcli.models.base import FlowModel
from flowcli.models.flow import flownet2, flownetc, flownets, pwcnet, spynet
from flowcli.models.flow._flownet import prefixed
from flowcli.weights import entries, foreign
from flowcli.weights.checkpoints import read_checkpoint

State = Mapping[str, Tensor]
Rename = Callable[[State], dict[str, Tensor]]
COUNTER = r"num_batches_tracked$"
"""Of batch normalisation in training: not in old files, and of no use here."""
TORCH7_SET = re.compile(r"modelL[1-6]_(\w+)\.t7")
"""Files of SpyNet's authors, one for each level of the pyramid, coarsest first."""


@dataclass(frozen=True)
class Flavour:
    """One way in which weights of a network are published.

    rename: gives them the names that the network has here. without: pattern of the names that are all missing, which
    stand for zeros.
    """

    name: str
    title: str
    network: str
    rename: Rename
    licence: str
    source: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    without: str = COUNTER


def _small_displacement(state: State) -> dict[str, Tensor]:
    return prefixed(foreign.flownet_of_mmflow(state), "flownets_d.")


def _mmflow(name: str, title: str, network: str, rename: Rename, **settings: Any) -> Flavour:
    return Flavour(name, f"{title} of MMFlow", network, rename, "Apache-2.0", "github.com/open-mmlab/mmflow", settings)


BGR: dict[str, Any] = {"order": "bgr", "mean": (0.0, 0.0, 0.0)}
NVIDIA = "research only: github.com/NVIDIA/flownet2-pytorch, LICENSE"
FLAVOURS = (
    Flavour(
        "pwcnet",
        "PWC-Net",
        "pwcnet",
        pwcnet.remap,
        "CC BY-NC-SA 4.0, not for commercial use",
        "github.com/NVlabs/PWC-Net",
    ),
    Flavour(
        "pwcnet-nodc",
        "PWC-Net without context network",
        "pwcnet",
        pwcnet.remap,
        "Apache-2.0",
        "github.com/hmorimitsu/ptlflow",
        without="^dc_conv",
    ),
    Flavour(
        "spynet",
        "SpyNet in Torch7",
        "spynet",
        foreign.spynet_of_torch7,
        "non-commercial research only",
        "github.com/anuragranj/spynet",
    ),
    Flavour(
        "spynet",
        "SpyNet",
        "spynet",
        spynet.remap,
        "non-commercial research only",
        "github.com/anuragranj/spynet, converted by github.com/sniklaus/pytorch-spynet",
    ),
    Flavour("flownets", "FlowNetS", "flownets", flownets.remap, "MIT", "github.com/ClementPinard/FlowNetPytorch"),
    Flavour(
        "flownets-bn",
        "FlowNetS with batch normalisation",
        "flownets",
        flownets.remap,
        "MIT",
        "github.com/ClementPinard/FlowNetPytorch",
        {"norm": True},
    ),
    Flavour("flownetc", "FlowNetC", "flownetc", flownetc.remap, "MIT", "github.com/ClementPinard/FlowNetPytorch"),
    Flavour(
        "pwcnet",
        "PWC-Net of pytorch-pwc",
        "pwcnet",
        foreign.pwcnet_of_pytorch_pwc,
        "CC BY-NC-SA 4.0, not for commercial use",
        "github.com/NVlabs/PWC-Net, converted by github.com/sniklaus/pytorch-pwc",
    ),
    _mmflow("pwcnet", "PWC-Net", "pwcnet", foreign.pwcnet_of_mmflow),
    *(
        _mmflow(name, title, name, lambda state: prefixed(foreign.flownet_of_mmflow(state), "net."), **BGR, bias=True)
        for name, title in (("flownets", "FlowNetS"), ("flownetc", "FlowNetC"))
    ),
    *(
        _mmflow(
            f"flownet2{suffix}",
            f"FlowNet2{suffix.upper()}",
            "flownet2",
            foreign.flownet2_of_mmflow if suffix != "-sd" else _small_displacement,
            variant=suffix.removeprefix("-") or "full",
            order="bgr",
            centre=False,
            **({"last": "bilinear"} if suffix == "-css" else {}),
        )
        for suffix in ("", "-cs", "-css", "-sd")
    ),
    *(
        Flavour(
            "flownet2" if variant == "full" else f"flownet2-{variant}",
            f"FlowNet2{'' if variant == 'full' else f'-{variant.upper()}'}",
            "flownet2",
            partial(flownet2.remap, variant=variant),
            NVIDIA,
            "github.com/NVIDIA/flownet2-pytorch",
            {"variant": variant},
        )
        for variant in ("c", "s", "sd", "cs", "css", "full")
    ),
)


def recognise(path: Path) -> tuple[Flavour, dict[str, Tensor]]:
    """Whose weights the file holds, and the weights by the names that the network has here.

    Any file of a set, as SpyNet's authors have one for each level, stands for all that lie beside it.
    Raises WeightsError if it cannot be read safely, or is of no network that is known.
    """
    match = TORCH7_SET.fullmatch(path.name)
    state = _read_torch7_set(path.parent, match[1]) if match else read_checkpoint(path)
    nearest = (0, "")
    for flavour in FLAVOURS:
        wanted = _shapes(flavour.network, json.dumps(dict(flavour.settings)))
        renamed = flavour.rename(state)
        absent = {name: torch.zeros(shape) for name, shape in wanted.items() if re.search(flavour.without, name)}
        if not absent.keys() & renamed.keys():
            renamed |= absent
        found = {name: tuple(tensor.shape) for name, tensor in renamed.items()}
        if found == wanted:
            return _seen_as(flavour, path), renamed
        common = sum(wanted.get(name) == shape for name, shape in found.items())
        nearest = max(nearest, (common, flavour.title), key=lambda each: each[0])
    near = f"; nearest is {nearest[1]}, of which it has {nearest[0]} tensors" if nearest[0] else ""
    raise WeightsError(
        f"weights of no network that is known: {path} has {len(state)} tensors{near}",
        f"known are {', '.join(flavour.title for flavour in FLAVOURS)}",
    )


def _read_torch7_set(folder: Path, tag: str) -> dict[str, Tensor]:
    state: dict[str, Tensor] = {}
    for level in range(1, spynet.LEVELS + 1):
        # The sets that were trained on FlyingChairs have five files; their authors' code uses the last of them twice.
        file = folder / f"modelL{min(level, 5) if tag in ('3', '4') else level}_{tag}.t7"
        if not file.is_file():
            raise WeightsError(f"one of SpyNet's files is not there: {file}", "put all of a set into one folder")
        state |= {f"{level}.{name}": tensor.float() for name, tensor in read_checkpoint(file).items()}
    return state


def _seen_as(flavour: Flavour, path: Path) -> Flavour:
    # FlowNetS converted from Caffe has the same names and shapes; that it wants BGR, only the name of the file tells.
    if flavour.network == "flownets" and "caffe" in path.name.lower():
        return Flavour(**{**vars(flavour), "name": "flownets-caffe", "settings": {**flavour.settings, "order": "bgr"}})
    return flavour


@lru_cache(maxsize=len(FLAVOURS))
def _shapes(network: str, settings: str) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        state = models.create(network, **json.loads(settings)).state_dict()
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


def load(path: Path, network: str | None = None, **settings: Any) -> FlowModel:
    """The network whose published weights the file holds, on the CPU, in evaluation mode.

    Raises WeightsError if they cannot be read safely, are of no network that is known, or of another than `network`.
    """
    flavour, state = recognise(path)
    if network not in (None, flavour.network, flavour.name):
        raise WeightsError(
            f"{path} holds weights of {flavour.network}, not of {network}", f"pass --model {flavour.network}"
        )
    return _model(flavour, state, path, settings)


def _model(flavour: Flavour, state: dict[str, Tensor], path: Path, settings: Mapping[str, Any]) -> FlowModel:
    return entries.build(flavour.network, {**flavour.settings, **settings}, state, path, f"{flavour.title}, {path}")


def multiply_adds(network: str, **settings: Any) -> float:
    """10^9 multiply-adds of the convolutions for one pair of 1024x436, both images encoded."""
    with torch.device("meta"), torch.inference_mode(), FlopCounterMode(display=False) as counter:
        model = models.create(network, **settings).eval()
        height, width = (-(-side // model.stride) * model.stride for side in (436, 1024))
        model(*torch.empty(2, 1, 3, height, width))
    return float(counter.get_total_flops()) / 2e9


def import_weights(
    path: Path, name: str | None = None, *, epe: str = "", measured: str = "", overwrite: bool = False
) -> entries.Entry:
    """The entry of the weights in `path`, which from now on go by `name`, or by the name of what they are.

    epe, measured: what is known of their errors, as of an Entry. The weights are kept under `entries.home()`. Raises
    WeightsError if they are not known, or their network does not run with them; OutputError if the name is taken and
    `overwrite` is not set.
    """
    flavour, state = recognise(path)
    _try(flavour, state, path)
    kept = entries.home() / f"{name or flavour.name}.safetensors"
    kept.parent.mkdir(parents=True, exist_ok=True)
    metadata = {
        "network": flavour.network,
        "settings": json.dumps(dict(flavour.settings)),
        "licence": flavour.licence,
        "source": f"{flavour.source} ({path.name})",
        "trained": f"by others: {flavour.title}",
        "gmacs": f"{multiply_adds(flavour.network, **flavour.settings):.1f}",
        "epe": epe,
        "measured": measured,
    }
    from safetensors.torch import save_file

    with Part(kept, overwrite) as part:
        # Tensors may be views of one storage, which safetensors refuses.
        own = {key: tensor.clone(memory_format=torch.contiguous_format) for key, tensor in state.items()}
        save_file(own, part.path, metadata)
    return entries.resolve(str(kept))


def _try(flavour: Flavour, state: dict[str, Tensor], path: Path) -> None:
    model = _model(flavour, state, path, {})
    side = max(64, model.stride)
    with torch.inference_mode():
        flow = model(*torch.rand(2, 1, 3, side, 2 * side, generator=torch.Generator().manual_seed(0)))[-1]
    if not flow.isfinite().all() or not math.isfinite(flow.std().item()):
        raise WeightsError(f"{flavour.title} gives no flow with the weights {path}", "fetch them again")
