"""Warnings that come once, though an input is read twice."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def warned_once() -> Iterator[None]:
    """A context or decorator: of warnings of flowcli in the same words, only the first one comes."""
    logger, said = logging.getLogger("flowcli"), set[str]()

    def is_new(record: logging.LogRecord) -> bool:
        words = record.getMessage()
        new = words not in said
        said.add(words)
        return new

    logger.addFilter(is_new)
    try:
        yield
    finally:
        logger.removeFilter(is_new)
