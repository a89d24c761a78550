"""Training of networks that make frames: the loop, its log, checkpoints, and weights to use.

The loss is that of VideoINR, Chen et al. 2022, arXiv:2206.04647, section 4.1.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from flowcli import models
from flowcli.atomic import Part
from flowcli.models.base import FrameModel
from flowcli.models.conv import Ranges, measure_ranges
from flowcli.train.average import Average
from flowcli.train.checkpoints import read_checkpoint, write_checkpoint
from flowcli.train.clips import Clips, Recipe
from flowcli.train.options import FrameTrainOptions
from flowcli.train.record import cut_table, table
from flowcli.train.start import start_from
from flowcli.train.synthesis import Moving
from flowcli.train.textures import load_bank
from flowcli.train.timing import Limit
from flowcli.train.videoinr import Enlarging

CHECKPOINT, LOG, WEIGHTS = "checkpoint.pt", "log.csv", "weights.safetensors"
LOG_FIELDS = ("step", "seconds", "rate", "loss", "validation_psnr")
SOFT = 1e-6
"""What rounds the tip of the loss."""
GOOD = 2e-5
"""A mean squared error that is small: 47 dB."""


@dataclass(frozen=True)
class FrameProgress:
    """State of the run after `step` steps; `loss`: of a number, on average; `psnr`: dB, when it was just measured."""

    step: int
    seconds: float
    rate: float
    loss: float
    psnr: float | None = None


def charbonnier(made: Tensor, truth: Tensor) -> Tensor:
    """sqrt(d^2 + SOFT) of each difference d, summed."""
    return (made - truth).square().add(SOFT).sqrt().sum()


def logarithmic(made: Tensor, truth: Tensor) -> Tensor:
    """log(e + GOOD) of the mean squared errors e of pictures (B, C, H, W), summed."""
    return (made - truth).square().mean((1, 2, 3)).add(GOOD).log().sum()


def train_frames(
    options: FrameTrainOptions,
    folder: Path,
    *,
    device: str = "cpu",
    minutes: float = math.inf,
    stop: Callable[[], bool] = lambda: False,
    init: Path | None = None,
    checkpoint_every: float = 180.0,
    validate_every: int = 500,
    report: Callable[[FrameProgress], None] = lambda progress: None,
) -> Path:
    """Path of the weights after training in `folder`; a checkpoint that lies there is resumed.

    minutes: stop after so long, with validation, even if steps are left; the checkpoint takes up there. stop: asked
    after each step, for an end without validation. init: weights to start from, or a checkpoint (.pt) of the same
    network. checkpoint_every: seconds.
    Raises InputError if the folder holds a run with other options, or options do not fit the network; WeightsError for
    a damaged checkpoint, or `init` that is damaged or of another network.
    """
    limit = Limit(minutes, stop)
    torch.manual_seed(options.seed)
    model = models.create_frame(options.network, **options.settings)
    momentum = None if init is None else start_from(init, options.network, model)
    model.to(device).train()
    average = Average(model)
    recipe = _recipe(options, folder / "cache", torch.device(device))
    folder.mkdir(parents=True, exist_ok=True)
    optimizer = torch.optim.Adam(model.parameters(), lr=options.rate, betas=(0.9, 0.99))
    if momentum is not None:
        optimizer.load_state_dict(momentum)
    step, spent = _resume(folder / CHECKPOINT, options, model, average, optimizer)
    if step >= options.steps:
        return folder / WEIGHTS
    cut_table(folder / LOG, step)
    unseen = recipe.unseen()
    saved = limit.elapsed
    with table(folder / LOG, LOG_FIELDS) as log:
        for clips in recipe.batches(step):
            rate = options.rate * recipe.rate(step)
            loss = _train_step(model, optimizer, clips, rate, options.loss, recipe.autocast)
            step += 1
            average.update(model, step)
            now = limit.elapsed
            seconds, stopped = spent + now, limit.stop()
            last = stopped or step >= options.steps or limit.is_near()
            psnr = None
            if not stopped and (last or step % validate_every == 0):
                psnr, ranges = measure_ranges(average.model, partial(validate, average.model, unseen))
                limit.check = limit.elapsed - now
                _publish(folder / WEIGHTS, options, average.model, step, seconds, psnr, ranges)
            if psnr is not None or step % 20 == 0:
                progress = FrameProgress(step, seconds, rate, loss, psnr)
                log(step=step, seconds=seconds, rate=rate, loss=loss, validation_psnr=psnr)
                report(progress)
            if last or limit.elapsed - saved >= checkpoint_every:
                state = {
                    "step": step,
                    "seconds": seconds,
                    "model": model.state_dict(),
                    "average": average.model.state_dict(),
                    "optimizer": optimizer.state_dict(),
                }
                write_checkpoint(folder / CHECKPOINT, options, state)
                saved = limit.elapsed
            if last:
                break
    return folder / WEIGHTS


def _recipe(options: FrameTrainOptions, folder: Path, device: torch.device) -> Recipe:
    bank = load_bank(Path(options.textures) if options.textures else None)
    if options.network == "synthesis":
        return Moving(bank, options, folder, device)
    return Enlarging(bank.to(device), options)


def _train_step(
    model: FrameModel,
    optimizer: torch.optim.Optimizer,
    clips: Clips,
    rate: float,
    loss: str,
    autocast: bool = False,
) -> float:
    """The loss of a number, on average, before the step."""
    for group in optimizer.param_groups:
        group["lr"] = rate
    height, width = clips.frames[0].shape[-2:]
    with torch.autocast(clips.first.device.type, torch.bfloat16, enabled=autocast):
        made = model(clips.first, clips.second, clips.times, height, width, *clips.flows)
    pairs = list(zip(made, clips.frames, strict=True))
    total = torch.stack([charbonnier(*pair) for pair in pairs]).sum()
    mean = total / (len(made) * made[0].numel())
    if loss == "log":
        aim = torch.stack([logarithmic(*pair) for pair in pairs]).sum() / (len(made) * len(made[0]))
    else:
        aim = total if loss == "sum" else mean
    optimizer.zero_grad(set_to_none=True)
    aim.backward()
    optimizer.step()
    return float(mean.detach())


@torch.inference_mode()
def validate(model: FrameModel, unseen: Sequence[Clips]) -> float:
    """Mean PSNR, dB, of the frames of clips that training does not see; of a model that is set to evaluation."""
    found = []
    for clips in unseen:
        made = model(clips.first, clips.second, clips.times, *clips.frames[0].shape[-2:], *clips.flows)
        for frame, truth in zip(made, clips.frames, strict=True):
            found.append(-10 * (frame.clamp(0, 1) - truth).square().mean((1, 2, 3)).log10())
    return float(torch.cat(found).mean())


def _publish(
    path: Path,
    options: FrameTrainOptions,
    model: FrameModel,
    step: int,
    seconds: float,
    psnr: float,
    ranges: Ranges,
) -> None:
    tensors = {name: tensor.contiguous().cpu() for name, tensor in model.state_dict().items()}
    trained = {
        "step": step,
        "minutes": round(seconds / 60, 1),
        "validation_psnr": round(psnr, 2),
        **asdict(options),
    }
    metadata = {
        "network": options.network,
        "settings": json.dumps(dict(options.settings)),
        "trained": json.dumps(trained),
        "ranges": json.dumps(ranges),
    }
    with Part(path, overwrite=True) as part:
        save_file(tensors, part.path, metadata)


def _resume(
    path: Path,
    options: FrameTrainOptions,
    model: FrameModel,
    average: Average[FrameModel],
    optimizer: torch.optim.Optimizer,
) -> tuple[int, float]:
    """Step and seconds spent so far: zero without a checkpoint."""
    state = read_checkpoint(path, options)
    if state is None:
        return 0, 0.0
    model.load_state_dict(state["model"])
    average.model.load_state_dict(state["average"])
    optimizer.load_state_dict(state["optimizer"])
    return int(state["step"]), float(state["seconds"])
