"""Concurrent stages: a thread that reads ahead, a thread that writes behind, and stopwatches for both."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

from flowcli.types import Closes, Sink

Item = TypeVar("Item")
Product = TypeVar("Product")

_POLL = 0.2
"""Seconds between checks for Ctrl-C where a signal cannot wake a waiting thread (Windows)."""
_PATIENCE = 1.0
"""Seconds that `close` and `abort` wait for a thread that may be stuck in a read or write of its owner."""


@dataclass
class Stopwatch:
    """Seconds that a stage was busy, and the items that it made; waiting for other stages does not count."""

    seconds: float = 0.0
    items: int = 0

    @property
    def rate(self) -> float | None:
        """Items per second, None before anything was measured."""
        return self.items / self.seconds if self.seconds > 0 else None

    @contextmanager
    def timed(self, items: int = 1) -> Iterator[None]:
        """Adds the time of the block, and `items`, unless the block raises."""
        start = time.perf_counter()
        yield
        self.seconds += time.perf_counter() - start
        self.items += items


class prefetch(Closes, Iterator[Item]):
    """The same items, produced in another thread that runs at most `depth` items ahead.

    An error in `items` comes out here, after the items before it. `close`, the end of a `with` block and the last
    reference going away all end the thread, which closes the iterator of `items`; whoever owns a source that may
    block for ever (a pipe) closes it after this. watch: counts the time that `items` takes to make each item.
    Raises ValueError if depth < 1.
    """

    def __init__(self, items: Iterable[Item], depth: int = 4, watch: Stopwatch | None = None) -> None:
        self._channel = _Channel[Item](depth)
        self._thread = threading.Thread(
            target=_read_ahead, args=(items, self._channel, watch or Stopwatch()), name="flowcli-prefetch", daemon=True
        )
        self._thread.start()

    def __next__(self) -> Item:
        return self._channel.get()

    def close(self) -> None:
        """Ends the thread and drops its items; waits for the thread unless it is stuck in its source."""
        self._channel.refuse()
        self._thread.join(_PATIENCE)

    def __del__(self) -> None:
        if hasattr(self, "_channel"):
            self._channel.refuse()


class Background(Generic[Item]):
    """A sink that writes its items to `sink` in another thread, at most `depth` items behind.

    An error of `sink` comes out at the next `write` or at `close`; items that were still waiting are dropped then.
    watch: counts the time that `sink` takes to write each item. begin: called first in the new thread; end: last, after
    all items, if nothing went wrong, for what the sink has left to do. Raises ValueError if depth < 1.
    """

    def __init__(
        self,
        sink: Sink[Item],
        depth: int = 4,
        watch: Stopwatch | None = None,
        begin: Callable[[], None] = lambda: None,
        end: Callable[[], None] = lambda: None,
    ) -> None:
        self._sink = sink
        self._channel = _Channel[Item](depth)
        self._thread = threading.Thread(
            target=_write_behind,
            args=(sink, self._channel, watch or Stopwatch(), begin, end),
            name="flowcli-background",
            daemon=True,
        )
        self._thread.start()

    def write(self, item: Item) -> None:
        self._channel.wait_for_room()
        self._channel.raise_error()
        self._channel.put(item)

    def close(self) -> None:
        """Waits until all is written, then closes the sink."""
        self._channel.finish()
        while self._thread.is_alive():
            self._thread.join(_POLL)
        self._channel.raise_error()
        self._sink.close()

    def abort(self) -> None:
        """Drops waiting items and aborts the sink, even if it is stuck in a write, for example to a full pipe."""
        self._channel.refuse()
        self._thread.join(_PATIENCE)
        self._sink.abort()


@dataclass(frozen=True, eq=False)
class Stage(Generic[Item, Product]):
    """A sink that converts each item and writes it to the next sink."""

    make: Callable[[Item], Product]
    sink: Sink[Product]

    def write(self, item: Item) -> None:
        self.sink.write(self.make(item))

    def close(self) -> None:
        self.sink.close()

    def abort(self) -> None:
        self.sink.abort()


def use_threads(count: int) -> None:
    """Sets the number of threads with which torch computes in this thread, independent of other threads."""
    import torch

    # Without this query, the thread's first work would take over the number last set in any other thread.
    torch.get_num_threads()
    torch.set_num_threads(count)


class _Channel(Generic[Item]):
    """A bounded queue between two threads; the sender ends it with `finish`, the receiver with `refuse`."""

    def __init__(self, depth: int) -> None:
        if depth < 1:
            raise ValueError(f"depth must be at least 1, got {depth}")
        self._depth = depth
        self._items: deque[Item] = deque()
        self._ended = False
        self.refused = False
        """Whether the receiver wants no more."""
        self._error: BaseException | None = None
        self._changed = threading.Condition()

    def wait_for_room(self) -> bool:
        """Waits until there is room for an item; returns whether another one is wanted."""
        with self._changed:
            self._wait(lambda: self._ended or len(self._items) < self._depth)
            return not self._ended

    def put(self, item: Item) -> None:
        with self._changed:
            if not self._ended:
                self._items.append(item)
                self._changed.notify_all()

    def get(self) -> Item:
        """The next item. After the last one raises the sender's error, once, then StopIteration."""
        with self._changed:
            self._wait(lambda: self._ended or bool(self._items))
            if self._items:
                self._changed.notify_all()
                return self._items.popleft()
            error, self._error = self._error, None
        raise error or StopIteration

    def finish(self, error: BaseException | None = None) -> None:
        """Ends the queue; waiting items are still delivered."""
        with self._changed:
            self._ended = True
            self._error = self._error or error
            self._changed.notify_all()

    def refuse(self, error: BaseException | None = None) -> None:
        """Ends the queue and drops waiting items."""
        with self._changed:
            self._items.clear()
            self.refused = True
        self.finish(error)

    def raise_error(self) -> None:
        with self._changed:
            if self._error is not None:
                raise self._error

    def _wait(self, ready: Callable[[], bool]) -> None:
        while not ready():
            self._changed.wait(_POLL)


def _read_ahead(items: Iterable[Item], channel: _Channel[Item], watch: Stopwatch) -> None:
    error = None
    try:
        iterator = iter(items)
        try:
            # The place comes first, so that no item is made which would have to wait outside the queue.
            while channel.wait_for_room():
                with watch.timed():
                    item = next(iterator)
                channel.put(item)
                del item
        except StopIteration:
            pass
        finally:
            close: Callable[[], None] | None = getattr(iterator, "close", None)
            if close is not None:
                close()
    except BaseException as caught:  # noqa: BLE001 - raised again in the thread that reads
        error = caught
    channel.finish(error)


def _write_behind(
    sink: Sink[Item],
    channel: _Channel[Item],
    watch: Stopwatch,
    begin: Callable[[], None],
    end: Callable[[], None],
) -> None:
    try:
        begin()
        while True:
            try:
                item = channel.get()
            except StopIteration:
                break
            with watch.timed():
                sink.write(item)
            del item
        if not channel.refused:
            with watch.timed(0):
                end()
    except BaseException as caught:  # noqa: BLE001 - raised again in the thread that writes
        channel.refuse(caught)
