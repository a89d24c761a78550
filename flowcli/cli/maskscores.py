"""`flowcli eval --task masks`: carried masks against painted ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from flowcli.carry.run import CarryOptions
from flowcli.cli.grouping import grouped
from flowcli.cli.options import TalkOptions
from flowcli.cli.progress import track
from flowcli.errors import UsageError
from flowcli.evaluation.options import MaskOptions
from flowcli.options import EngineOptions
from flowcli.weights import entries

if TYPE_CHECKING:
    from flowcli.evaluation.carriers import Carrier
    from flowcli.evaluation.scores import Score

COPY = "copy"
"""The baseline that moves nothing."""

mask_options = grouped(
    "masks",
    MaskOptions,
    click.option(
        "--ignore",
        type=click.IntRange(min=0),
        metavar="LABEL",
        help="With --task masks: ignore pixels whose true label this is.",
    ),
    click.option("--refine-edges", is_flag=True, help="With --task masks: as for `flowcli propagate`."),
)


def check_baselines(baselines: Sequence[str], known: Collection[str]) -> None:
    """Raises UsageError for one that is not known."""
    if other := [name for name in baselines if name not in known]:
        raise UsageError(f"no baseline has the name {other[0]}", f"there are: {', '.join(known)}")


def find_models(models: Sequence[str], baselines: Sequence[str]) -> list[entries.Entry]:
    """The entries of the models, by default the usual one. Raises UsageError for two methods of one name."""
    chosen = [entries.resolve(model) for model in models or (EngineOptions.model,)]
    names = [entry.name for entry in chosen] + list(baselines)
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise UsageError(f"two methods have the name {twice}", "rename one of the files")
    return chosen


def mask_scores(
    dataset: Path,
    models: Sequence[str],
    baselines: Sequence[str],
    options: MaskOptions,
    engine: EngineOptions,
    talk: TalkOptions,
) -> list[Score]:
    """The scores of masks that are carried with these models, and in the simpler ways of the baselines."""
    check_baselines(baselines, (*entries.CLASSIC, COPY))
    ways = [name if name == COPY else f"{name} chain" for name in baselines]
    chosen = find_models(models, ways)

    from flowcli import classic
    from flowcli.evaluation.carriers import chained, copied, propagated
    from flowcli.evaluation.masks import count_scores, evaluate_masks, find_clips

    clips = find_clips(dataset)
    carrying = CarryOptions(refine_edges=options.refine_edges)
    carriers: dict[str, Carrier] = {
        entry.name: propagated(entry, dataclasses.replace(engine, model=entry.name), carrying) for entry in chosen
    }
    for way, name in zip(ways, baselines, strict=True):
        carriers[way] = copied if name == COPY else chained(classic.METHODS[name])
    scores = evaluate_masks(carriers, clips, options)
    return list(track(scores, len(carriers) * count_scores(clips, options), "result", show=not talk.quiet))
