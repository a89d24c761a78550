"""Kinds of scenes: walls, whips, depth, bodies, things, stills, and a mixture of everything, each with its share.

`draw_scene` is a function of (seed, index) alone.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from flowcli.train.dice import Dice
from flowcli.train.layers import (
    Canvas,
    background,
    carried,
    draw_layer,
    draw_look,
    draw_waves,
    flattened,
    heading,
    mark,
    patterned,
    pierced,
    shape,
    straightened,
    veil,
)
from flowcli.train.options import KINDS
from flowcli.train.scenes import MOST_LAYERS, Layer, Look, Motion, Scene, stacked

MIXED_LAYERS = 13
OVERLAID = 0.06
"""Share of scenes, of any kind, with things before them that stand still: letters, a logo, a frame."""

Drawn = tuple[list[Layer], Look]


def _draw_pace(dice: Dice) -> float:
    """How fast everything in a scene moves: a third are slow, down to hundredths of a pixel, some are fast."""
    if dice.chance(0.35):
        return dice.scale(0.03, 0.6)
    return dice.number(1.3, 2.2) if dice.chance(0.12) else 1.0


def _mixed(dice: Dice, canvas: Canvas) -> Drawn:
    """1 to MIXED_LAYERS - 1 shapes of all kinds over a moving background."""
    pace = _draw_pace(dice)
    still = dice.chance(0.15)
    moving = pace * float(not still)
    fast = dice.chance(0.15)
    camera = Motion(
        center=torch.zeros(2),
        shift=dice.vector(3.0, 1.2, 80.0) * pace * (0.02 if still else 1.0),
        turn=dice.normal(0.02) * moving * float(dice.chance(0.6)),
        zoom=dice.normal(0.1 if fast else 0.03) * moving * float(dice.chance(0.6)),
        stretch=dice.normal(0.015, 2) * moving * float(dice.chance(0.4)),
        tilt=dice.normal(4e-4 if fast else 1e-4, 2) * moving * float(dice.chance(0.4)),
    )
    count = dice.integer(2, MIXED_LAYERS + 1)
    layers = [draw_layer(dice, canvas, number == 0, pace, camera) for number in range(count)]
    return layers, draw_look(dice)


def _camera(dice: Dice, canvas: Canvas, median: float, most: float, wild: float = 1.0) -> Motion:
    """A hand-held camera, which pans, rolls and zooms about the middle of the picture; wild: how much of the latter."""
    return Motion(
        center=canvas.middle,
        shift=dice.vector(median, 1.0, most),
        turn=dice.normal(0.02 * wild) * float(dice.chance(0.6)),
        zoom=dice.normal(0.03 * wild) * float(dice.chance(0.6)),
        stretch=torch.zeros(2),
        tilt=dice.normal(1e-4 * wild, 2) * float(dice.chance(0.4)),
    )


def _walls(dice: Dice, canvas: Canvas) -> Drawn:
    """Large areas without texture, whose motion only their borders, few marks and shadows tell."""
    pace = _draw_pace(dice)
    still = dice.chance(0.2)
    camera = Motion.none() if still else _camera(dice, canvas, 4.0 * pace, 80.0, wild=0.5)
    camera = dataclasses.replace(camera, tilt=torch.zeros(2))
    back = background(dice, canvas, camera)
    layers = [back]
    if dice.chance(0.55):
        layers = [flattened(dice, canvas, back) if dice.chance(0.8) else patterned(dice, canvas, back)]
        layers += [mark(dice, canvas, layers[0]) for _ in range(dice.integer(3, 7))]
        # A wall ends somewhere: at the floor, at a door, at the horizon.
        layers += [shape(dice, canvas, camera, canvas.size * dice.scale(0.1, 0.4)) for _ in range(dice.integer(0, 2))]
    for _ in range(dice.integer(1, 4)):
        wall = shape(dice, canvas, camera, canvas.size * dice.scale(0.1, 0.45), 1.6 * pace)
        if dice.chance(0.5):
            wall = straightened(wall)
        wall = patterned(dice, canvas, wall) if dice.chance(0.2) else flattened(dice, canvas, wall)
        wall = dataclasses.replace(wall, hole=wall.hole * float(dice.chance(0.3)))
        layers += [wall, *(mark(dice, canvas, wall) for _ in range(dice.integer(0, 3)))]
    if dice.chance(0.35):
        layers.append(veil(dice, canvas, camera, pace))
    look = draw_look(dice)
    if dice.chance(0.5):
        look = dataclasses.replace(look, noise=dice.uniform(0, 0.04).expand(2))
    # On walls, shadows are all that is seen to move; stronger ones would drown what moves indeed.
    look = dataclasses.replace(look, shadow=look.shadow * torch.tensor([0.4, 1, 1, 1, 1]))
    return layers[: MOST_LAYERS - 2], look


def _whips(dice: Dice, canvas: Canvas) -> Drawn:
    """Fast motion, blurred by an open shutter: of the camera, or of small things over a slow ground."""
    longest = 0.45 * canvas.size
    layers: list[Layer]
    if dice.chance(0.65):
        camera = dataclasses.replace(
            _camera(dice, canvas, 1.0, 1.0, wild=4.0),
            shift=heading(dice, min(dice.scale(20, 250), longest), level=0.6),
        )
        layers = [background(dice, canvas, camera)]
        for _ in range(dice.integer(1, 6)):
            each = shape(dice, canvas, camera, canvas.size * dice.scale(0.03, 0.3), 1.5)
            if dice.chance(0.25):
                # What the camera follows stands still, or nearly so.
                each = carried(each, Motion.none())
            layers.append(each)
    else:
        camera = _camera(dice, canvas, 2.0, 20.0)
        layers = [background(dice, canvas, camera)]
        layers += [shape(dice, canvas, camera, canvas.size * dice.scale(0.05, 0.3), 1.0) for _ in range(2)]
        for _ in range(dice.integer(1, 5)):
            radius = dice.scale(6, 90)
            each = shape(dice, canvas, camera, radius)
            # What crosses more than a few times its own size leaves no trace in a frame with an open shutter.
            speed = heading(dice, min(dice.scale(20, 250), longest, 6 * radius))
            # At the middle of the way it is in the picture.
            inside = torch.stack([dice.uniform(0.1, 0.9) * canvas.width, dice.uniform(0.1, 0.9) * canvas.height])
            place = inside - speed / 2
            motion = dataclasses.replace(
                each.motion, center=place, shift=speed, turn=dice.normal(0.25), zoom=dice.normal(0.08)
            )
            layers.append(dataclasses.replace(each, place=place, motion=motion))
    if dice.chance(0.3):
        # Not the ground: without a mark, nothing tells how it moves.
        layers[1:] = [flattened(dice, canvas, each) if dice.chance(0.4) else each for each in layers[1:]]
    # Waves cost most of the time, and what moves so fast shows none.
    layers = [dataclasses.replace(each, wave=torch.zeros_like(each.wave)) for each in layers]
    shutter = dice.uniform(0.15, 1.0) * float(dice.chance(0.75))
    return layers, dataclasses.replace(draw_look(dice), shutter=shutter)


def _depth(dice: Dice, canvas: Canvas) -> Drawn:
    """A camera that moves past planes at several depths, over a ground with relief; some are thin or full of holes."""
    pace = _draw_pace(dice)
    toward = heading(dice, min(pace * dice.scale(4, 90), 150.0), level=0.5)
    forward = float(dice.normal(0.12)) * pace * float(dice.chance(0.5))
    roll = dice.normal(0.02) * pace * float(dice.chance(0.5))
    far = dice.number(2.5, 8)

    def seen(depth: float) -> Motion:
        return dataclasses.replace(
            Motion.none(), center=canvas.middle, shift=toward / depth, zoom=torch.tensor(forward / depth), turn=roll
        )

    back = background(dice, canvas, seen(far))
    if dice.chance(0.5):
        angle = math.atan2(float(toward[1]), float(toward[0]))
        steepest = min(0.12, float(toward.norm()) / 200)
        back = dataclasses.replace(back, wave=draw_waves(dice, steepest, angle))
    if dice.chance(0.3):
        back = dataclasses.replace(back, motion=dataclasses.replace(back.motion, tilt=dice.normal(3e-4, 2)))
    layers = [back]
    depths = sorted((dice.scale(1, far) for _ in range(dice.integer(3, 10))), reverse=True)
    for depth in depths:
        each = shape(dice, canvas, seen(depth), canvas.size * dice.scale(0.1, 0.45) / depth)
        if dice.chance(0.2):
            wire = torch.tensor([canvas.size * dice.scale(0.1, 0.6), dice.scale(0.8, 4) / math.sqrt(depth)])
            each = dataclasses.replace(
                each, radius=wire, hole=torch.tensor(0.0), outline=torch.zeros_like(each.outline)
            )
        elif dice.chance(0.3):
            each = pierced(dice, canvas, dataclasses.replace(each, radius=2 * each.radius))
        elif dice.chance(0.25):
            each = flattened(dice, canvas, each)
        layers.append(each)
    return layers, draw_look(dice)


def _bodies(dice: Dice, canvas: Canvas) -> Drawn:
    """Bodies whose limbs turn about joints of a moving trunk, things with thin legs, cloth, and what is in the air."""
    pace = _draw_pace(dice)
    camera = _camera(dice, canvas, 2.0 * pace, 40.0)
    layers = [background(dice, canvas, camera)]
    for _ in range(dice.integer(1, 3)):
        length = canvas.size * dice.scale(0.06, 0.2)
        # A chair, a tripod: thrown rather than walking.
        stiff = dice.chance(0.4)
        trunk = shape(dice, canvas, camera, length, (3.0 if stiff else 1.5) * pace)
        body = dataclasses.replace(
            camera,
            shift=camera.shift + trunk.motion.shift,
            turn=camera.turn + trunk.motion.turn,
            zoom=camera.zoom + trunk.motion.zoom,
            center=trunk.place,
        )
        trunk = dataclasses.replace(trunk, motion=Motion.none(), carrier=body, hole=torch.tensor(0.0))
        if dice.chance(0.4):
            trunk = dataclasses.replace(trunk, wave=draw_waves(dice, 0.15 * min(pace, 1.0)))
        layers.append(trunk)
        for _ in range(dice.integer(2, 6 if stiff else 5)):
            limb = shape(dice, canvas, body, length * dice.number(0.4, 0.9))
            thickness = dice.scale(0.02, 0.08) if stiff else dice.number(0.1, 0.3)
            angle, across = dice.uniform(0, 2 * math.pi), torch.tensor([1.0, thickness])
            joint = trunk.place + dice.uniform(-0.6, 0.6, 2) * trunk.radius.amin()
            reach = torch.stack([torch.cos(angle), torch.sin(angle)]) * limb.radius[0]
            swing = dataclasses.replace(
                Motion.none(), center=joint, turn=dice.normal(0.0 if stiff else 0.35) * min(pace, 1.5)
            )
            limb = dataclasses.replace(
                limb, place=joint + 0.9 * reach, angle=angle, radius=limb.radius[0] * across, motion=swing
            )
            layers.append(dataclasses.replace(limb, texture=trunk.texture) if dice.chance(0.5) else limb)
    if dice.chance(0.25):
        layers.append(pierced(dice, canvas, background(dice, canvas, _camera(dice, canvas, 12.0 * pace, 80.0))))
    return layers[: MOST_LAYERS - 2], draw_look(dice)


def _things(dice: Dice, canvas: Canvas) -> Drawn:
    """Rigid things of flat parts and thin legs, as chairs are, that fly over a slow ground and out of view."""
    pace = _draw_pace(dice)
    camera = _camera(dice, canvas, 3.0 * pace, 40.0)
    layers = [background(dice, canvas, camera)]
    if dice.chance(0.2):
        layers = [flattened(dice, canvas, layers[0])]
        layers += [mark(dice, canvas, layers[0]) for _ in range(dice.integer(2, 5))]
    for _ in range(dice.integer(2, 5)):
        layers += _thing(dice, canvas, camera, pace)
    return layers[: MOST_LAYERS - 2], draw_look(dice)


def _thing(dice: Dice, canvas: Canvas, camera: Motion, pace: float) -> list[Layer]:
    """A seat or top, perhaps a back, and legs, of one material and nearly one colour; they touch and move as one."""
    size = canvas.size * dice.scale(0.04, 0.14)
    seat = straightened(shape(dice, canvas, camera, size))
    if dice.chance(0.7):
        seat = flattened(dice, canvas, seat)
        seat = dataclasses.replace(seat, tint=seat.tint * (0.3 if dice.chance(0.4) else 1.0))
    body = dataclasses.replace(
        camera,
        center=seat.place,
        shift=camera.shift + pace * dice.vector(14.0, 1.0, 90.0),
        turn=camera.turn + pace * dice.normal(0.08) * float(dice.chance(0.7)),
        zoom=camera.zoom + pace * dice.normal(0.05) * float(dice.chance(0.7)),
    )
    upright = 0.0 if dice.chance(0.5) else dice.number(0, 2 * math.pi)
    turn = torch.tensor([[math.cos(upright), -math.sin(upright)], [math.sin(upright), math.cos(upright)]])
    openwork = dice.uniform(0.5, 0.85) * float(dice.chance(0.2))

    def part(x: float, y: float, wide: float, tall: float, lean: float, hole: Tensor) -> Layer:
        """At so many sizes to the right of the seat's middle and below it, with half axes of so many sizes."""
        return dataclasses.replace(
            seat,
            place=seat.place + size * turn @ torch.tensor([x, y]),
            # Four sides reach less far than the circle around them.
            radius=(math.sqrt(2) * size * torch.tensor([wide, tall])).clamp(min=0.8),
            angle=torch.tensor(upright + lean),
            tint=seat.tint * dice.number(0.75, 1.25),
            hole=hole,
            motion=Motion.none(),
            carrier=body,
            wave=torch.zeros_like(seat.wave),
            sides=torch.tensor(4.0),
            spin=torch.tensor(math.pi / 4),
        )

    whole = torch.tensor(0.0)
    deep, slant = dice.number(0.2, 0.7), float(dice.normal(0.2))
    parts = [part(0.0, 0.0, 1.0, deep, slant, whole)]
    if dice.chance(0.7):
        tall = dice.number(0.4, 1.0)
        parts.append(part(dice.number(-0.2, 0.2), -deep - 0.9 * tall, dice.number(0.7, 1), tall, slant, openwork))
    long, thick = dice.number(0.4, 0.9), dice.scale(0.01, 0.06)
    for x in (-0.85, 0.85, -0.4, 0.4)[: dice.integer(2, 5)]:
        parts.append(part(x, deep + 0.85 * long, long, thick, math.pi / 2 + float(dice.normal(0.1)), whole))
    return parts


def _stills(dice: Dice, canvas: Canvas) -> Drawn:
    """Pictures in which nothing moves, or one thing; some are black, and a lamp may flicker."""
    camera = Motion.none()
    back = background(dice, canvas, camera)
    if dice.chance(0.3):
        back = flattened(dice, canvas, back)
    layers = [back, *(shape(dice, canvas, camera, canvas.size * dice.scale(0.05, 0.4)) for _ in range(4))]
    if dice.chance(0.5):
        layers.append(shape(dice, canvas, camera, canvas.size * dice.scale(0.03, 0.2), _draw_pace(dice)))
    layers = [dataclasses.replace(each, wave=torch.zeros_like(each.wave)) for each in layers]
    if dice.chance(0.08):
        layers = [dataclasses.replace(back, tint=torch.full((3,), dice.number(0, 0.1)), wave=torch.zeros(3, 5))]
    look = draw_look(dice)
    if dice.chance(0.3):
        look = dataclasses.replace(look, gain=look.gain * torch.exp(dice.normal(0.2, 2, 1)))
    return layers, look


def _overlay(dice: Dice, canvas: Canvas) -> list[Layer]:
    """One or two things that stand still in front of everything."""
    layers = []
    for _ in range(dice.integer(1, 3)):
        each = shape(dice, canvas, Motion.none(), canvas.size * dice.scale(0.04, 0.3))
        if dice.chance(0.6):
            each = flattened(dice, canvas, each)
        if dice.chance(0.6):
            each = pierced(dice, canvas, each)
        square = dataclasses.replace(
            each,
            sides=torch.tensor(4.0),
            spin=torch.tensor(math.pi / 4),
            angle=torch.tensor(0.0),
            smooth=torch.tensor(0.0),
            outline=torch.zeros_like(each.outline),
        )
        layers.append(square)
    return layers


DRAWN: dict[str, tuple[float, Callable[[Dice, Canvas], Drawn]]] = {
    "mixed": (0.36, _mixed),
    "walls": (0.18, _walls),
    "whips": (0.14, _whips),
    "depth": (0.10, _depth),
    "bodies": (0.06, _bodies),
    "things": (0.12, _things),
    "stills": (0.04, _stills),
}
"""Each kind, its share of all scenes, and what draws it."""


def draw_scene(
    seed: int, indices: Iterable[int], height: int, width: int, textures: int, kinds: Sequence[str] = KINDS
) -> Scene:
    """The scenes number `indices` of the endless set `seed`, each a function of the two alone.

    height, width: of the frames, pixels. textures: number of textures in the bank. kinds: those to draw from, in
    proportion to their shares.
    """
    canvas = Canvas(height, width, textures)
    layered, looks, seeds = [], [], []
    for index in indices:
        own = (seed * 0x9E3779B97F4A7C15 + index * 0xD1B54A32D192ED03) % 2**63
        choice = Dice(own ^ 0x5851F42D4C957F2D)
        shares = torch.tensor([DRAWN[kind][0] for kind in kinds])
        kind = kinds[int(torch.multinomial(shares, 1, generator=choice.generator))]
        layers, look = DRAWN[kind][1](Dice(own), canvas)
        if kind != "mixed" and choice.chance(OVERLAID):
            layers = layers + _overlay(choice, canvas)
        layers = layers + [dataclasses.replace(layers[0], radius=torch.zeros(2))] * (MOST_LAYERS - len(layers))
        layered.append(layers)
        looks.append(look)
        seeds.append(own)
    return Scene([stacked(same) for same in zip(*layered, strict=True)], stacked(looks), seeds)
