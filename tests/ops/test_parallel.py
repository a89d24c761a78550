"""The native kernels' loop over all cores."""

from __future__ import annotations

import threading
from pathlib import Path

import torch

from flowcli.ops import correlation


def in_thread(work: object) -> None:
    thread = threading.Thread(target=work)  # type: ignore[arg-type]
    thread.start()
    thread.join()


def test_a_thread_keeps_its_number_of_threads(library: Path) -> None:
    """Whatever was last set in another one, as the outputs do in theirs."""
    features = torch.rand(1, 8, 40, 40)
    before = torch.get_num_threads()
    counts = []

    def work() -> None:
        torch.get_num_threads()
        torch.set_num_threads(3)
        in_thread(lambda: torch.set_num_threads(1))
        correlation(features, features, 2)
        counts.append(torch.get_num_threads())

    try:
        in_thread(work)
    finally:
        torch.set_num_threads(before)
    assert counts == [3]
