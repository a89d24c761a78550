"""How long a training run may go on."""

from __future__ import annotations

import math
import time
from collections.abc import Callable


class Limit:
    """The end of a run: after `minutes`, all told, counted from now on; or as soon as `stop` says so."""

    def __init__(self, minutes: float = math.inf, stop: Callable[[], bool] = lambda: False) -> None:
        self._begun = time.monotonic()
        self._seconds = 60 * minutes
        self.stop = stop
        self.check = 0.0
        """Seconds that the last validation took, which the one at the end needs as well."""

    @property
    def elapsed(self) -> float:
        """Seconds."""
        return time.monotonic() - self._begun

    def is_near(self) -> bool:
        """Whether it is time for the validation at the end."""
        return self.elapsed + self.check >= self._seconds
