"""`flowcli eval --task occlusion`: occlusion masks against true ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from flowcli.cli.maskscores import check_baselines, find_models
from flowcli.cli.options import TalkOptions
from flowcli.cli.progress import track
from flowcli.errors import InputError
from flowcli.options import EngineOptions
from flowcli.run import open_engine

if TYPE_CHECKING:
    from flowcli.evaluation.scores import Score

SIMPLE = ("consistency",)
"""The names of the baselines, which `evaluation.occlusions` has."""


def occlusion_scores(
    dataset: Path, models: Sequence[str], baselines: Sequence[str], engine: EngineOptions, talk: TalkOptions
) -> list[Score]:
    """The scores of masks along the flow of these models, and of the simpler rules of the baselines."""
    check_baselines(baselines, SIMPLE)
    chosen = find_models(models, ())

    from flowcli.evaluation.datasets import find_examples
    from flowcli.evaluation.occlusions import OWN, RULES, evaluate_occlusions

    examples = [each for each in find_examples(dataset) if each.occluded or each.visible]
    if not examples:
        raise InputError(f"no masks of occlusion in {dataset}", "MPI-Sintel and KITTI have them")
    engines = {entry.name: open_engine(entry, dataclasses.replace(engine, model=entry.name)) for entry in chosen}
    rules = {**OWN, **{name: RULES[name] for name in baselines}}
    count = len(examples) * len(engines) * len(rules)
    return list(track(evaluate_occlusions(engines, rules, examples), count, "result", show=not talk.quiet))
