"""What `flowcli propagate` says at the end, whatever was carried."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from flowcli.carry.naming import Target
from flowcli.cli.writing import described, described_run

if TYPE_CHECKING:
    from flowcli.carry.run import CarryRun
    from flowcli.output.opening import Writer
    from flowcli.types import StreamInfo


def described_carrying(
    run: CarryRun[Any],
    count: int,
    info: StreamInfo,
    seconds: float,
    damage: str,
    targets: Sequence[Target],
    writers: Sequence[Writer[Any]],
) -> dict[str, Any]:
    """What was carried to `count` frames, by what and where to, for --json. writers: of the targets."""
    mean = run.tally.mean_confidence
    return {
        "frames": count,
        "keys": run.tally.keys,
        "empty": run.tally.empty,
        "confidence": None if mean is None else round(mean, 4),
        **described_run(run, info, seconds, damage),
        "outputs": [
            {**described(writer), "what": target.what} for writer, target in zip(writers, targets, strict=True)
        ],
    }
