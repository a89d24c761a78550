"""Plots of the motion in a video over time."""

from __future__ import annotations

import math
from array import array
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib as mpl
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from flowcli.motion.stats import Row

PANELS = {
    "speed, px per frame": ("speed_p95", "speed_mean", "speed_median", "object_speed", "fb_error"),
    "camera, px": ("pan", "tilt"),
    "zoom %, roll °": ("zoom", "roll"),
    "share of picture": ("moving_area", "object_area", "occluded"),
    "score": ("cut_score", "duplicate"),
}
"""The panels from top to bottom: the unit, and the columns of a Row drawn in it."""
SHARES = ("share of picture", "score")
"""Panels whose values lie between 0 and 1."""
SINGLY = 100
"""Up to this many rows, each is marked with a dot."""


class Plot:
    """A sink that plots rows over time when it is closed; cuts are vertical lines. kind: "png" or "svg"."""

    def __init__(self, path: Path, kind: str) -> None:
        self._path = path
        self._kind = kind
        self._times = array("d")
        self._cuts = array("d")
        self._columns = {name: array("d") for names in PANELS.values() for name in names}

    def write(self, row: Row) -> None:
        self._times.append(row.time)
        if row.cut:
            self._cuts.append(row.time)
        for name, column in self._columns.items():
            value = getattr(row, name)
            value = math.nan if value is None else value
            column.append(100 * (value - 1) if name == "zoom" else value)

    def close(self) -> None:
        # Text stays text, and the same rows give the same bytes.
        with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "flowcli"}):
            figure = Figure(figsize=(11, 9), layout="constrained")
            for axes, (unit, names) in zip(figure.subplots(len(PANELS), sharex=True), PANELS.items(), strict=True):
                axes.set_ylabel(unit)
                axes.grid(alpha=0.3)
                if unit in SHARES:
                    axes.set_ylim(-0.05, 1.05)
                axes.vlines(self._cuts, 0, 1, transform=axes.get_xaxis_transform(), colors="0.4", linestyles="dashed")
                for name in names:
                    if not all(map(math.isnan, self._columns[name])):
                        marker = "." if len(self._times) <= SINGLY else None
                        axes.plot(self._times, self._columns[name], label=name, linewidth=1, marker=marker)
                if axes.lines:
                    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
            axes.set_xlabel("seconds")
            figure.savefig(self._path, format=self._kind, metadata={"Date": None} if self._kind == "svg" else None)

    def abort(self) -> None:
        """Nothing has been written."""
