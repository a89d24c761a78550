"""The training loop: steps, checkpoints from which it resumes, a log, and weights to ship."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from flowcli import models
from flowcli.atomic import Part
from flowcli.engine.engine import Engine
from flowcli.errors import InputError
from flowcli.evaluation.datasets import Example
from flowcli.evaluation.scores import evaluate, network, summarise
from flowcli.metrics import endpoint_error
from flowcli.models.base import FlowModel
from flowcli.models.conv import Ranges, measure_ranges
from flowcli.pictures import write_picture
from flowcli.train.average import Average
from flowcli.train.checkpoints import read_checkpoint, write_checkpoint
from flowcli.train.data import Batch, CachedScenes, cached_batches, rendered_batches
from flowcli.train.loss import robust_loss
from flowcli.train.options import TrainOptions
from flowcli.train.record import Series, cut_table, draw_curves, read_series, table
from flowcli.train.start import start_from
from flowcli.train.textures import load_bank
from flowcli.train.timing import Limit
from flowcli.train.validation import Errors, validate, validation_pairs

CHECKPOINT = "checkpoint.pt"
LOG = "log.csv"
REAL = "real.csv"
CURVE = "curve.png"
WEIGHTS = "weights.safetensors"
LOG_FIELDS = ("step", "seconds", "rate", "loss", "epe", "validation_epe", "validation_flat", "validation_fast")
REAL_FIELDS = ("step", "set", "pairs", "epe")


@dataclass(frozen=True)
class Progress:
    """State of the run after `step` steps; `epe` of the last batch, `validation` when it was just measured."""

    step: int
    seconds: float
    rate: float
    loss: float
    epe: float
    validation: Errors | None = None
    real: Mapping[str, float] = field(default_factory=dict)
    """EPE by set of the real pairs, when it was just measured."""


def schedule(step: int, steps: int, warm: float = 0.05, hold: float = 0.0) -> float:
    """The learning rate at `step` as a share of the highest one: linear up over `warm`, then linear down from `hold`.

    warm, hold: shares of the steps; between them the rate is at its highest.
    """
    share, level = step / steps, max(warm, hold)
    if share < warm:
        return share / warm
    return 1.0 if share <= level else max(0.0, (1 - share) / (1 - level))


def train(
    options: TrainOptions,
    folder: Path,
    *,
    device: str = "cpu",
    minutes: float = math.inf,
    stop: Callable[[], bool] = lambda: False,
    workers: int = 1,
    init: Path | None = None,
    real: Sequence[Example] = (),
    checkpoint_every: float = 180.0,
    validate_every: int = 500,
    report: Callable[[Progress], None] = lambda progress: None,
    announce: Callable[[str], None] = lambda text: None,
) -> Path:
    """Path of the weights after training in `folder`; a checkpoint that lies there is resumed.

    minutes: stop after so long, with scenes and validation, even if steps are left; the checkpoint takes up there.
    stop: asked after each step, for an end without validation. announce: called before what takes long. init: weights
    to start from, or a checkpoint (.pt) of the same network. real: pairs that are measured whenever the scenes of
    validation are, and only reported: the weights that are kept are those that did best on the scenes.
    checkpoint_every: seconds.
    Raises InputError if the folder holds a run with other options, or the network does not take crops of that size;
    WeightsError for a damaged checkpoint, or `init` that is damaged or of another network.
    """
    limit = Limit(minutes, stop)
    torch.manual_seed(options.seed)
    model = models.create(options.network, **options.settings)
    momentum = None if init is None else start_from(init, options.network, model)
    for side in options.crop:
        if side % model.stride:
            less = side - side % model.stride
            raise InputError(f"crop {side} is not a multiple of {model.stride}", f"use {less} or {less + model.stride}")
    folder.mkdir(parents=True, exist_ok=True)
    bank = load_bank(Path(options.textures) if options.textures else None)
    where = torch.device(device)
    # Takes memory_format by keyword only, which the annotations of nn.Module.to leave out.
    model.to(where, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    average = Average(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=options.rate, weight_decay=options.decay)
    if momentum is not None:
        optimizer.load_state_dict(momentum)
    step, spent, best = _resume(folder / CHECKPOINT, options, model, average, optimizer)
    if step >= options.steps:
        return folder / WEIGHTS
    for record in (LOG, REAL):
        cut_table(folder / record, step)
    unseen = validation_pairs(bank, *options.crop, folder / "cache", announce)
    saved = before = limit.elapsed
    with table(folder / LOG, LOG_FIELDS) as log:
        for batch in _batches(options, bank, where, folder, step, workers):
            rate = options.rate * schedule(step, options.steps, options.warm, options.hold)
            if options.vary:
                model.vary(torch.Generator().manual_seed(options.seed * 1_000_003 + step))
            loss, epe = _train_step(model, optimizer, batch, rate, options.precision)
            step += 1
            average.update(model, step)
            now = limit.elapsed
            # Without gradients, a pair takes about a third of the time.
            limit.check = limit.check or (now - before) * len(unseen.flow) / options.batch / 3
            before, seconds = now, spent + now
            stopped = limit.stop()
            last = stopped or step >= options.steps or limit.is_near()
            checked, errors = None, {}
            if not stopped and (last or step % validate_every == 0):
                checked, ranges = measure_ranges(
                    average.model, partial(validate, average.model, unseen, options.batch, where)
                )
                if checked.epe <= best or not (folder / WEIGHTS).exists():
                    best = checked.epe
                    _publish(folder, options, step, seconds, checked, average, ranges)
                errors = _measure(folder / REAL, step, average.model, real, where)
                limit.check = limit.elapsed - now
            if checked is not None or step % 20 == 0:
                progress = Progress(step, seconds, rate, float(loss), float(epe), checked, errors)
                log(**_row(progress))
                report(progress)
            if checked is not None:
                _draw(folder)
            if last or limit.elapsed - saved >= checkpoint_every:
                state = {
                    "step": step,
                    "seconds": seconds,
                    "best": best,
                    "model": model.state_dict(),
                    "average": average.model.state_dict(),
                    "optimizer": optimizer.state_dict(),
                }
                write_checkpoint(folder / CHECKPOINT, options, state)
                saved = limit.elapsed
            if last:
                break
    return folder / WEIGHTS


def _row(progress: Progress) -> dict[str, float | None]:
    """A line of the log."""
    validation = {} if progress.validation is None else asdict(progress.validation)
    values = {**vars(progress), **{f"validation_{name}": value for name, value in validation.items()}}
    return {name: value for name, value in values.items() if name in LOG_FIELDS}


def _batches(
    options: TrainOptions, bank: Tensor, device: torch.device, folder: Path, start: int, workers: int
) -> Iterator[Batch]:
    seed, batch, crop, kinds = options.seed, options.batch, options.crop, options.kinds
    if device.type == "cuda":
        return rendered_batches(bank.to(device), seed, batch, start, crop, options.easy, kinds)
    data = CachedScenes(bank, folder / "cache", seed, options.scenes, crop, options.easy * batch, kinds)
    return cached_batches(data, batch, start, workers)


def _train_step(
    model: FlowModel, optimizer: torch.optim.Optimizer, batch: Batch, rate: float, precision: str
) -> tuple[Tensor, Tensor]:
    for group in optimizer.param_groups:
        group["lr"] = rate
    with torch.autocast(batch.first.device.type, torch.bfloat16, enabled=precision == "bf16"):
        flows = model(batch.first, batch.second)
    loss = robust_loss(flows, batch.flow)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return loss.detach(), endpoint_error(flows[-1].detach(), batch.flow)


def _measure(
    path: Path, step: int, model: FlowModel, examples: Sequence[Example], device: torch.device
) -> dict[str, float]:
    """EPE by set of real pairs, also added to the table at `path`."""
    if not examples:
        return {}
    method = network(Engine(model, str(device)))
    sets = summarise(evaluate({"": method}, examples))
    with table(path, REAL_FIELDS) as write:
        for each in sets:
            write(step=step, set=each.group, pairs=each.pairs, epe=each.values["EPE"])
    return {each.group: each.values["EPE"] for each in sets}


def _draw(folder: Path) -> None:
    series: dict[str, Series] = {}
    for column in ("loss", *(name for name in LOG_FIELDS if name.startswith("validation"))):
        series |= read_series(folder / LOG, "step", column)
    with Part(folder / CURVE, overwrite=True) as part:
        write_picture(part.path, draw_curves(series | read_series(folder / REAL, "step", "epe", by="set")))


def _publish(
    folder: Path,
    options: TrainOptions,
    step: int,
    seconds: float,
    validation: Errors,
    average: Average[FlowModel],
    ranges: Ranges,
) -> None:
    tensors = {name: tensor.contiguous().cpu() for name, tensor in average.model.state_dict().items()}
    trained = {
        "step": step,
        "minutes": round(seconds / 60, 1),
        **{f"validation_{name}": round(value, 4) for name, value in asdict(validation).items()},
        **asdict(options),
    }
    with Part(folder / WEIGHTS, overwrite=True) as part:
        metadata = {"network": options.network, "trained": json.dumps(trained), "ranges": json.dumps(ranges)}
        if options.settings:
            metadata["settings"] = json.dumps(options.settings)
        save_file(tensors, part.path, metadata)


def _resume(
    path: Path, options: TrainOptions, model: FlowModel, average: Average[FlowModel], optimizer: torch.optim.Optimizer
) -> tuple[int, float, float]:
    """Step and seconds spent so far, best validation EPE: zero and infinity without a checkpoint."""
    state = read_checkpoint(path, options)
    if state is None:
        return 0, 0.0, math.inf
    model.load_state_dict(state["model"])
    average.model.load_state_dict(state["average"])
    optimizer.load_state_dict(state["optimizer"])
    return int(state["step"]), float(state["seconds"]), float(state["best"])
