"""`flowcli eval`: errors of models on a dataset with ground truth."""

from __future__ import annotations

import csv
import dataclasses
import json
import math
import sys
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import click

from flowcli.atomic import Part
from flowcli.cli.columns import print_columns
from flowcli.cli.fetching import fetch_option
from flowcli.cli.grouping import choice
from flowcli.cli.help import HelpedCommand
from flowcli.cli.maskscores import check_baselines, find_models, mask_options, mask_scores
from flowcli.cli.occlusionscores import occlusion_scores
from flowcli.cli.options import TalkOptions, network_options, talk_options
from flowcli.cli.progress import track
from flowcli.cli.streams import echo
from flowcli.cli.words import completed, model_names
from flowcli.errors import UsageError
from flowcli.evaluation.options import MaskOptions
from flowcli.interpolation.options import InterpolationOptions
from flowcli.interpolation.run import find_method, open_method
from flowcli.options import EngineOptions
from flowcli.run import open_engine
from flowcli.weights import entries

if TYPE_CHECKING:
    from flowcli.evaluation.frames import Example
    from flowcli.evaluation.scores import Score, Summary

Task = Literal["flow", "frames", "masks", "occlusion"]
Names = tuple[str, str]
"""What results are summarised by, and what each of them is of."""
PAIRS: Names = ("set", "pair")
MASKS: Names = ("given", "sequence")


@click.command("eval", cls=HelpedCommand, own={"Options": ("every",)})
@click.argument("dataset", type=click.Path())
@click.option(
    "-m",
    "--model",
    "models",
    multiple=True,
    metavar="NAME|FILE",
    shell_complete=completed(model_names),
    help="As for `flowcli estimate`; with --task frames as for `flowcli interpolate`, or a flow model for splat to "
    "use; may be repeated.  [default: rpwc, or splat]",
)
@choice(
    "--task",
    get_args(Task),
    "What is measured: flow, frames made between frames, carried masks, or occlusion masks.",
)
@click.option(
    "--baseline",
    "baselines",
    multiple=True,
    metavar="NAME",
    help=f"Measure another method on the same data: {', '.join(entries.CLASSIC)}; for frames also minterpolate, or "
    "your own package.module:function; for masks chains of that flow, or copy; may be repeated.",
)
@click.option(
    "--every",
    type=click.IntRange(min=2),
    metavar="N",
    help="With --task frames: keep every Nth frame of a video or folder, and make the others. With --task masks: give "
    "every Nth mask, and carry it to the frames between.  [default: 10]",
)
@mask_options
@click.option(
    "--save", type=click.Path(path_type=Path), metavar="DIR", help="Folder for flow, error pictures and contact sheets."
)
@click.option("-y", "--overwrite", is_flag=True, help="Replace what is in DIR.")
@click.option("--csv", "as_csv", is_flag=True, help="Print comma-separated lines, one for each pair and set.")
@network_options
@fetch_option
@talk_options
def command(
    dataset: str,
    models: tuple[str, ...],
    task: Task,
    baselines: tuple[str, ...],
    every: int | None,
    save: Path | None,
    overwrite: bool,
    as_csv: bool,
    masks: MaskOptions,
    engine: EngineOptions,
    talk: TalkOptions,
) -> None:
    """Measure how well models estimate flow, make frames, carry masks or find occlusions, on data with known results.

    DATASET is the folder of MPI-Sintel, KITTI 2012 or 2015, Middlebury or FlyingChairs as it is distributed, a folder
    of files PAIR_img1.*, PAIR_img2.* and PAIR_flow.*, or a folder of such folders.

    \b
    EPE            mean endpoint error, pixels
    noc occ        EPE of pixels that are visible, or hidden, in the second frame; empty if a pair does not say which
    s0-10 ...      EPE of pixels whose true motion is 0 to 10, 10 to 40, 40 and more pixels
    Fl             share of errors above 3 px and 5 % of the true length
    1px 3px 5px    share of errors above 1, 3 and 5 px
    AE             mean angular error, degrees

    All are means over the pixels of a set.

    With --task frames, DATASET is a folder of folders SET/NAME with three pictures in a row, 0.*, 1.* and 2.*: the
    frame that is made between 0 and 2 is compared with 1. With --every N it is a video, a folder of frames, or a
    quoted glob of such, and the result has a row for each position between the frames that are kept.

    \b
    PSNR SSIM      of red, green and blue; PSNR-Y and SSIM-Y of the luma alone

    With --task masks, DATASET is a folder of folders NAME/frames and NAME/masks, or of JPEGImages/480p/NAME and
    Annotations/480p/NAME, with a mask for every frame. Masks are carried as propagate does, from every 20th frame over
    the next 10 and 25, and from every Nth (--every) to those between.

    \b
    J F            agreement of area and of outline, as DAVIS defines them (mean over frames, then over sequences)
    mIoU           intersection over union of several labels (over all frames, mean over labels)

    With --task occlusion, --as occlusion is compared with the masks of the pairs that have some; --baseline consistency
    adds the simple check that the flow forward and back returns to the same pixel.

    \b
    precision      share of found pixels that truly are hidden or outside (from here on: over all pixels)
    recall F1      share of the true pixels that are found; harmonic mean of both

    -v lists every pair or sequence as well; --json and --csv always do.

    \b
    flowcli eval MPI-Sintel/ --baseline dis
    flowcli eval triplets/ --task frames -m splat -m blend --baseline dis
    flowcli eval in.mp4 --task frames --every 4
    flowcli eval sequences/ --task masks --baseline copy --baseline dis
    flowcli eval MPI-Sintel/ --task occlusion --baseline consistency
    flowcli eval KITTI/ -m runs/mine/weights.safetensors -m rpwc --save sheets/
    """
    if as_csv and talk.json:
        raise UsageError("--csv and --json contradict each other", "leave one out")
    if task != "masks" and masks != MaskOptions():
        raise UsageError("--ignore and --refine-edges are for masks", "add --task masks")
    if task == "occlusion":
        if save or every is not None:
            raise UsageError(f"--{'save' if save else 'every'} is not for occlusion", "leave it out")
        _report(occlusion_scores(Path(dataset), models, baselines, engine, talk), as_csv, talk)
        return
    if task == "masks":
        if save:
            raise UsageError("--save is for flow", "leave it out")
        given = dataclasses.replace(masks, interval=every or masks.interval)
        _report(mask_scores(Path(dataset), models, baselines, given, engine, talk), as_csv, talk, MASKS)
        return
    if task == "frames":
        if save:
            raise UsageError("--save is for flow", "leave out one of --save and --task frames")
        models = models or (InterpolationOptions.method,)
        _report(_frame_scores(dataset, models, baselines, every, engine, talk), as_csv, talk)
        return
    if every is not None:
        raise UsageError("--every is for frames and masks", "add --task frames or --task masks")
    check_baselines(baselines, entries.CLASSIC)
    chosen = find_models(models, baselines)

    from flowcli import classic
    from flowcli.evaluation import datasets
    from flowcli.evaluation.scores import Method as FlowMethod
    from flowcli.evaluation.scores import evaluate, network

    examples = datasets.find_examples(Path(dataset))
    with ExitStack() as stack:
        part = None if save is None else stack.enter_context(Part(save, overwrite, folder=True))
        methods: dict[str, FlowMethod] = {
            entry.name: network(open_engine(entry, dataclasses.replace(engine, model=entry.name))) for entry in chosen
        }
        methods |= {name: classic.METHODS[name] for name in baselines}
        running = evaluate(methods, examples, None if part is None else part.path)
        scores = list(track(running, len(examples) * len(methods), "flow", show=not talk.quiet))
    _report(scores, as_csv, talk)


def _frame_scores(
    dataset: str,
    models: Sequence[str],
    baselines: Sequence[str],
    every: int | None,
    engine: EngineOptions,
    talk: TalkOptions,
) -> list[Score]:
    """The scores of the frames that these methods make."""
    chosen = {name: find_method(name, engine, along=True) for name in models}
    from flowcli.evaluation.frames import evaluate_frames, find_triplets, leave_out, made_by
    from flowcli.evaluation.middles import find_baseline

    examples: Iterable[Example]
    if every is None:
        triplets = find_triplets(Path(dataset))
        examples, count = (each.read() for each in triplets), len(triplets)
    else:
        examples, count = leave_out(dataset, every), None
    methods = {name: made_by(open_method(method, engine)) for name, method in chosen.items()}
    methods |= {f"baseline {name}": find_baseline(name) for name in baselines}
    scores = evaluate_frames(methods, examples)
    return list(track(scores, count and count * len(methods), "frame", show=not talk.quiet))


def _report(scores: Sequence[Score], as_csv: bool, talk: TalkOptions, names: Names = PAIRS) -> None:
    from flowcli.evaluation.scores import summarise

    summaries = summarise(scores)
    if talk.json:
        found = {
            "sets": [_row(each, names) for each in summaries],
            f"{names[1]}s": [_row(each, names) for each in scores],
        }
        echo(json.dumps(found))
    elif as_csv:
        _write_csv([*summaries, *scores], names)
    else:
        _print_table([*summaries, *(scores if talk.verbose else [])], names)


def _values(result: Score | Summary) -> dict[str, float]:
    """The metrics by name, and the seconds."""
    from flowcli.evaluation.scores import Summary

    own = result.values if isinstance(result, Summary) else {name: mean.value for name, mean in result.means.items()}
    return {**own, "seconds": result.seconds}


def _row(result: Score | Summary, names: Names) -> dict[str, Any]:
    """The fields of a result for JSON and CSV; unknown numbers are None."""
    from flowcli.evaluation.scores import Summary

    group, item = names
    what = {f"{item}s": result.pairs} if isinstance(result, Summary) else {item: result.name}
    numbers = {name: round(value, 4) if math.isfinite(value) else None for name, value in _values(result).items()}
    return {group: result.group, **what, "method": result.method, **numbers}


def _write_csv(results: Sequence[Score | Summary], names: Names) -> None:
    group, item = names
    rows = [{item: "", **_row(result, names)} for result in results]
    columns = [name for name in (group, f"{item}s", *rows[-1]) if name != item]
    columns.insert(1, item)
    writer = csv.DictWriter(sys.stdout, list(dict.fromkeys(columns)), restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)


def _print_table(results: Iterable[Score | Summary], names: Names) -> None:
    from flowcli.evaluation.scores import Summary

    rows = [(each, _values(each)) for each in results]
    shown = [
        name for name in rows[0][1] if name != "seconds" and not all(math.isnan(values[name]) for _, values in rows)
    ]
    group, item = names
    what = item if any(not isinstance(each, Summary) for each, _ in rows) else f"{item}s"
    table = []
    for each, values in rows:
        name = str(each.pairs) if isinstance(each, Summary) else each.name
        numbers = [_shown(metric, values[metric]) for metric in shown]
        table.append((each.group, name, each.method, *numbers, f"{each.seconds:.3f}"))
    one = "frame" if names == MASKS else item
    print_columns((group, what, "method", *shown, f"s/{one}"), table, left=3)


def _shown(name: str, value: float) -> str:
    if math.isnan(value):
        return ""
    share = name in ("Fl", "J", "F", "mIoU", "precision", "recall", "F1") or name.endswith("px")
    return f"{100 * value:.1f}%" if share else f"{value:.4f}" if name.startswith("SSIM") else f"{value:.2f}"
