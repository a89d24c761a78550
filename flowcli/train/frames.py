"""Training of networks that make frames, on generated scenes: full-size frames at any time, from two small ones.

Loss, times, factors and schedule are those of VideoINR, Chen et al. 2022, arXiv:2206.04647, section 4.1.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from flowcli import models
from flowcli.atomic import Part
from flowcli.errors import InputError
from flowcli.models.base import FrameModel
from flowcli.train.checkpoints import read_checkpoint, write_checkpoint
from flowcli.train.kinds import draw_scene
from flowcli.train.options import FrameTrainOptions
from flowcli.train.record import cut_table, table
from flowcli.train.rendering import render
from flowcli.train.textures import load_bank
from flowcli.train.timing import Limit

CHECKPOINT, LOG, WEIGHTS = "checkpoint.pt", "log.csv", "weights.safetensors"
LOG_FIELDS = ("step", "seconds", "rate", "loss", "validation_psnr")
FACTOR = 4
"""Frames are so many times as high and wide as what they are made from; towards the end of a run, LEAST to FACTOR."""
LEAST = 2.0
EIGHTHS = 8
"""Times are whole eighths of the way from one frame to the other."""
TIMES = 3
"""Frames that are made of a pair in a step."""
PARTS = 4
"""Times that the rate falls in a run; the factor varies during the last."""
LAST_SHARE = 1e-3
"""Of the highest rate, at the end of each part."""
SOFT = 1e-6
"""What rounds the tip of the loss."""
VALIDATION_SEED = 20_000_003
"""Scenes that no training seed reaches: seeds are below 10,000."""
VALIDATION_SCENES = 8


@dataclass(frozen=True)
class FrameProgress:
    """State of the run after `step` steps; `loss`: of a number, on average; `psnr`: dB, when it was just measured."""

    step: int
    seconds: float
    rate: float
    loss: float
    psnr: float | None = None


@dataclass(frozen=True)
class Clips:
    """A batch of clips: first, second (B, 3, h, w), and frames (B, 3, H, W) at `times`, float32 RGB in [0, 1]."""

    first: Tensor
    second: Tensor
    times: tuple[float, ...]
    frames: list[Tensor]


def falling(step: int, steps: int) -> float:
    """The learning rate at `step` as a share of the highest: a half wave of a cosine in each part of the run."""
    period = max(1, steps // PARTS)
    return LAST_SHARE + (1 - LAST_SHARE) * (1 + math.cos(math.pi * (step % period) / period)) / 2


def charbonnier(made: Tensor, truth: Tensor) -> Tensor:
    """sqrt(d^2 + SOFT) of each difference d, summed."""
    return (made - truth).square().add(SOFT).sqrt().sum()


def draw_clips(bank: Tensor, options: FrameTrainOptions, number: int) -> Clips:
    """Batch `number` of a run, on the bank's device, a function of (seed, number): no scene comes twice."""
    generator = torch.Generator().manual_seed(options.seed * 1_000_003 + number)
    times = (torch.randperm(EIGHTHS + 1, generator=generator)[:TIMES].sort().values / EIGHTHS).tolist()
    factor = float(FACTOR)
    if number >= options.steps * (PARTS - 1) // PARTS:
        factor = LEAST + (FACTOR - LEAST) * torch.rand((), generator=generator).item()
    small = options.crop // FACTOR
    scenes = range(number * options.batch, (number + 1) * options.batch)
    return _clips(bank, options.seed, scenes, small, round(factor * small), tuple(times))


def _clips(bank: Tensor, seed: int, scenes: range, small: int, side: int, times: tuple[float, ...]) -> Clips:
    scene = draw_scene(seed, scenes, side, side, len(bank))
    frames = [frame.clamp(0, 1) for frame in render(scene, bank, side, side, (0.0, 1.0, *times))]
    first, second = (_shrunk(frame, small) for frame in frames[:2])
    return Clips(first, second, times, frames[2:])


def _shrunk(frame: Tensor, side: int) -> Tensor:
    """Without aliasing, as the frames were shrunk that the paper trained on."""
    return F.interpolate(frame, (side, side), mode="bicubic", align_corners=False, antialias=True).clamp(0, 1)


def train_frames(
    options: FrameTrainOptions,
    folder: Path,
    *,
    device: str = "cpu",
    minutes: float = math.inf,
    stop: Callable[[], bool] = lambda: False,
    checkpoint_every: float = 180.0,
    validate_every: int = 500,
    report: Callable[[FrameProgress], None] = lambda progress: None,
) -> Path:
    """Path of the weights after training in `folder`; a checkpoint that lies there is resumed.

    minutes: stop after so long, with validation, even if steps are left; the checkpoint takes up there. stop: asked
    after each step, for an end without validation. checkpoint_every: seconds.
    Raises InputError if the folder holds a run with other options, or crops are no multiple of FACTOR; WeightsError for
    a damaged checkpoint.
    """
    if options.crop % FACTOR:
        raise InputError(f"crop {options.crop} is not a multiple of {FACTOR}", f"use {options.crop // FACTOR * FACTOR}")
    limit = Limit(minutes, stop)
    torch.manual_seed(options.seed)
    model = models.create_frame(options.network, **options.settings).to(device).train()
    folder.mkdir(parents=True, exist_ok=True)
    bank = load_bank(Path(options.textures) if options.textures else None).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=options.rate, betas=(0.9, 0.99))
    step, spent = _resume(folder / CHECKPOINT, options, model, optimizer)
    if step >= options.steps:
        return folder / WEIGHTS
    cut_table(folder / LOG, step)
    saved = limit.elapsed
    with table(folder / LOG, LOG_FIELDS) as log:
        while True:
            clips = draw_clips(bank, options, step)
            rate = options.rate * falling(step, options.steps)
            loss = _train_step(model, optimizer, clips, rate, options.loss)
            step += 1
            now = limit.elapsed
            seconds, stopped = spent + now, limit.stop()
            last = stopped or step >= options.steps or limit.is_near()
            psnr = None
            if not stopped and (last or step % validate_every == 0):
                psnr = validate(model, bank, options)
                limit.check = limit.elapsed - now
                _publish(folder / WEIGHTS, options, model, step, seconds, psnr)
            if psnr is not None or step % 20 == 0:
                progress = FrameProgress(step, seconds, rate, loss, psnr)
                log(step=step, seconds=seconds, rate=rate, loss=loss, validation_psnr=psnr)
                report(progress)
            if last or limit.elapsed - saved >= checkpoint_every:
                state = {
                    "step": step,
                    "seconds": seconds,
                    "model": model.state_dict(),
                    "optimizer": optimizer.state_dict(),
                }
                write_checkpoint(folder / CHECKPOINT, options, state)
                saved = limit.elapsed
            if last:
                return folder / WEIGHTS


def _train_step(model: FrameModel, optimizer: torch.optim.Optimizer, clips: Clips, rate: float, loss: str) -> float:
    """The loss of a number, on average, before the step."""
    for group in optimizer.param_groups:
        group["lr"] = rate
    height, width = clips.frames[0].shape[-2:]
    made = model(clips.first, clips.second, clips.times, height, width)
    total = torch.stack([charbonnier(*pair) for pair in zip(made, clips.frames, strict=True)]).sum()
    mean = total / (len(made) * made[0].numel())
    optimizer.zero_grad(set_to_none=True)
    (total if loss == "sum" else mean).backward()
    optimizer.step()
    return float(mean.detach())


@torch.inference_mode()
def validate(model: FrameModel, bank: Tensor, options: FrameTrainOptions) -> float:
    """Mean PSNR, dB, of frames in the middle of scenes that training does not see."""
    clips = _clips(bank, VALIDATION_SEED, range(VALIDATION_SCENES), options.crop // FACTOR, options.crop, (0.5,))
    model.eval()
    (made,) = model(clips.first, clips.second, clips.times, options.crop, options.crop)
    model.train()
    errors = (made.clamp(0, 1) - clips.frames[0]).square().mean((1, 2, 3))
    return float((-10 * errors.log10()).mean())


def _publish(path: Path, options: FrameTrainOptions, model: FrameModel, step: int, seconds: float, psnr: float) -> None:
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
    }
    with Part(path, overwrite=True) as part:
        save_file(tensors, part.path, metadata)


def _resume(
    path: Path, options: FrameTrainOptions, model: FrameModel, optimizer: torch.optim.Optimizer
) -> tuple[int, float]:
    """Step and seconds spent so far: zero without a checkpoint."""
    state = read_checkpoint(path, options)
    if state is None:
        return 0, 0.0
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    return int(state["step"]), float(state["seconds"])
