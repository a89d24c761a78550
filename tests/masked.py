"""Clips of generated scenes with the mask of one thing for every frame: `python -m tests.masked FOLDER`.

What carries masks is chosen on these, and measured on real ones: `flowcli eval FOLDER --task masks`.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from flowcli.pictures import write_picture
from flowcli.train.kinds import draw_scene
from flowcli.train.rendering import render
from flowcli.train.scenes import Layer, Scene
from flowcli.train.textures import load_bank

SEED = 20_000_033
"""Scenes that no training seed reaches."""
HEIGHT, WIDTH, LENGTH = 480, 854, 26
STEPS = 0.25, 0.5, 0.75
"""Of the time between the frames that networks are trained on: motion is so many times as fast. By turns."""
KINDS = ("mixed", "depth", "bodies", "whips")
AREA = 0.01, 0.35
"""Share of the first frame that the thing covers."""
KEPT = 0.3
"""Share of its area on the first frame that it has on all others, at least."""
QUALITY = 75


def things(scene: Scene) -> list[list[int]]:
    """The numbers of the layers that make a thing: those that one body carries, else each alone; not the ground."""
    found: dict[tuple[float, ...], list[int]] = {}
    ground = _carrier(scene.layers[0])
    for number, layer in enumerate(scene.layers[1:], 1):
        if float(layer.radius.max()) not in (0.0, float("inf")):
            carrier = _carrier(layer)
            alone = carrier == ground or not any(carrier)
            found.setdefault((float(number),) if alone else carrier, []).append(number)
    return list(found.values())


def _carrier(layer: Layer) -> tuple[float, ...]:
    return (*layer.carrier.shift.flatten().tolist(), *layer.carrier.center.flatten().tolist())


def draw_clip(bank: Tensor, number: int) -> tuple[list[np.ndarray], list[np.ndarray]] | None:
    """Frames (H, W, 3) uint8 and masks (H, W) bool of the thing that is nearest to a tenth of the frame.

    None if there is none of that size that stays in view. In every second clip things look like the ground.
    """
    scene = draw_scene(SEED, [number], HEIGHT, WIDTH, len(bank), KINDS)
    if number % 2:
        scene = _alike(scene)
    times = [STEPS[number % len(STEPS)] * (index - LENGTH // 2) for index in range(LENGTH)]
    found = [(layers, _masks(scene, layers, bank, times[:1])[0]) for layers in things(scene)]
    fitting = [each for each in found if AREA[0] < each[1].mean() < AREA[1]]
    for layers, first in sorted(fitting, key=lambda each: _off(each[1])):
        masks = _masks(scene, layers, bank, times)
        if min(mask.mean() for mask in masks) > KEPT * first.mean():
            break
    else:
        return None
    light = 1 + 0.05 * np.sin(np.arange(LENGTH) / 5 + number)
    frames = [
        (image[0].permute(1, 2, 0) * gain).clamp(0, 1).mul(255).round().byte().numpy()
        for image, gain in zip(render(scene, bank, HEIGHT, WIDTH, times), light, strict=True)
    ]
    return frames, masks


def _masks(scene: Scene, layers: list[int], bank: Tensor, times: Sequence[float]) -> list[np.ndarray]:
    """Where one of the layers shows, (H, W) bool, at each time."""
    painted = render(_painted(scene, layers), bank, HEIGHT, WIDTH, times)
    return [image[0, 0].gt(0.5).numpy() for image in painted]


def _alike(scene: Scene) -> Scene:
    """The scene with all things in the texture and the tint of the ground, as animals are."""
    ground = scene.layers[0]
    layers = [
        dataclasses.replace(layer, texture=ground.texture, tint=ground.tint, contrast=ground.contrast)
        for layer in scene.layers
    ]
    return dataclasses.replace(scene, layers=layers)


def _painted(scene: Scene, white: list[int]) -> Scene:
    """The scene with the layers `white` in one colour, and all others black."""
    layers = [
        dataclasses.replace(
            layer, contrast=torch.zeros_like(layer.contrast), tint=torch.full_like(layer.tint, 2.0 * (number in white))
        )
        for number, layer in enumerate(scene.layers)
    ]
    return dataclasses.replace(scene, layers=layers)


def _off(mask: np.ndarray) -> float:
    return abs(float(np.log(mask.mean() / 0.1)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--clips", type=int, default=24)
    parser.add_argument("--textures", type=Path, default=Path("../shared/textures"))
    arguments = parser.parse_args()
    bank = load_bank(arguments.textures)
    number, made = 0, 0
    while made < arguments.clips:
        clip = draw_clip(bank, number)
        if clip is not None:
            for index, (frame, mask) in enumerate(zip(*clip, strict=True)):
                for kind, suffix in (("frames", ".jpg"), ("masks", ".png")):
                    (arguments.folder / f"{number:04d}" / kind).mkdir(parents=True, exist_ok=True)
                    path = arguments.folder / f"{number:04d}" / kind / f"{index:05d}{suffix}"
                    if kind == "frames":
                        cv2.imwrite(str(path), frame[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
                    else:
                        write_picture(path, mask.astype(np.uint8) * 255)
            made += 1
        number += 1


if __name__ == "__main__":
    main()
