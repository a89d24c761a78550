"""Threads that read ahead and write behind: order, bounds, and every way to end early."""

from __future__ import annotations

import signal
import threading
import time
import weakref
from collections.abc import Callable, Iterator

import pytest

from flowcli.pipeline import Background, Stopwatch, prefetch, use_threads
from flowcli.types import drain


class Item:
    """Something that can be referred to weakly."""


class Source:
    """Counts what it made; `gate` can hold it, `fail_at` makes it raise. Knows whether it was closed."""

    def __init__(self, count: int = 10**9, fail_at: int | None = None) -> None:
        self.count = count
        self.fail_at = fail_at
        self.made = 0
        self.closed = threading.Event()

    def __iter__(self) -> Iterator[int]:
        try:
            for number in range(self.count):
                if number == self.fail_at:
                    raise OSError(f"cannot read item {number}")
                self.made += 1
                yield number
        finally:
            self.closed.set()


class Record:
    """A sink that keeps what it got; writing waits for `gate` where one is given."""

    def __init__(self, gate: threading.Event | None = None, fail_at: int | None = None) -> None:
        self.gate = gate
        self.fail_at = fail_at
        self.items: list[int] = []
        self.writing = threading.Event()
        self.state = "open"

    def write(self, item: int) -> None:
        self.writing.set()
        if self.gate is not None:
            self.gate.wait()
        if item == self.fail_at:
            raise BrokenPipeError(f"item {item}")
        self.items.append(item)

    def close(self) -> None:
        self.state = "closed"

    def abort(self) -> None:
        self.state = "aborted"
        if self.gate is not None:
            self.gate.set()


@pytest.fixture(autouse=True)
def _no_threads_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert until(lambda: not set(threading.enumerate()) - before), "a thread outlived its test"


def until(condition: Callable[[], bool], seconds: float = 5.0) -> bool:
    """Whether the condition came true in time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.002)
    return True


def stays(condition: Callable[[], bool], seconds: float = 0.05) -> bool:
    """Whether the condition held all that time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not condition():
            return False
        time.sleep(0.002)
    return True


def released(item: weakref.ref[Item]) -> bool:
    """Whether the last reference to the item went away in time."""
    return until(lambda: item() is None)


@pytest.mark.parametrize("depth", [1, 2, 7])
def test_prefetch_keeps_order_and_ends(depth: int) -> None:
    source = Source(50)
    items = prefetch(source, depth)
    assert list(items) == list(range(50))
    assert source.closed.is_set()
    assert list(items) == []


def test_prefetch_of_nothing() -> None:
    assert list(prefetch([])) == []


@pytest.mark.parametrize("depth", [1, 4])
def test_prefetch_runs_ahead_by_exactly_its_depth(depth: int) -> None:
    source = Source()
    with prefetch(source, depth) as items:
        for taken in range(1, 4):
            assert next(items) == taken - 1
            assert until(lambda taken=taken: source.made == taken + depth)  # type: ignore[misc]
            assert stays(lambda taken=taken: source.made == taken + depth)  # type: ignore[misc]


def test_prefetch_keeps_no_item_that_was_taken() -> None:
    with prefetch((Item() for _ in range(8)), 2) as items:
        for _ in range(4):
            seen = weakref.ref(next(items))
            assert released(seen)


def test_prefetch_closed_early_closes_its_source() -> None:
    source = Source()
    items = prefetch(source, 2)
    assert next(items) == 0
    items.close()
    assert source.closed.is_set()
    assert list(items) == []
    items.close()


def test_prefetch_closed_before_the_first_item() -> None:
    source = Source()
    prefetch(source).close()
    assert source.made <= 4


def test_prefetch_that_nobody_holds_ends_its_thread() -> None:
    source = Source()
    assert next(prefetch(source)) == 0
    assert source.closed.wait(5)


def test_prefetch_hands_out_what_came_before_an_error() -> None:
    source = Source(fail_at=3)
    items = prefetch(source)
    assert [next(items) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(OSError, match=r"^cannot read item 3$"):
        next(items)
    assert source.closed.is_set()
    assert list(items) == []


def test_prefetch_of_something_that_cannot_be_iterated() -> None:
    with pytest.raises(TypeError, match="not iterable"):
        next(prefetch(7))  # type: ignore[arg-type]


@pytest.mark.slow
def test_prefetch_closed_while_its_source_is_stuck_does_not_wait_for_ever() -> None:
    gate = threading.Event()

    def stuck() -> Iterator[int]:
        gate.wait()
        yield 1

    items = prefetch(stuck())
    start = time.monotonic()
    items.close()
    assert time.monotonic() - start < 5
    gate.set()


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="no signals between threads on this system")
@pytest.mark.parametrize("where", ["get", "write", "close"])
def test_interrupt_while_waiting_is_prompt(where: str) -> None:
    gate = threading.Event()
    record = Record(gate)
    main = threading.main_thread().ident
    assert main is not None
    timer = threading.Timer(0.1, signal.pthread_kill, (main, signal.SIGINT))

    def stuck() -> Iterator[int]:
        gate.wait()
        yield 1

    sink = Background(record, 1)
    items = prefetch(stuck())
    timer.start()
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012 - whichever of the calls it comes in
        if where == "get":
            next(items)
        while where == "write":
            sink.write(1)
        sink.write(1)
        sink.close()
    assert time.monotonic() - start < 2
    sink.abort()
    items.close()
    timer.join()


@pytest.mark.parametrize("depth", [1, 3])
def test_background_writes_all_in_order(depth: int) -> None:
    record = Record()
    assert drain(range(40), [Background(record, depth)]) == 40
    assert record.items == list(range(40))
    assert record.state == "closed"


def test_background_begins_in_its_own_thread() -> None:
    begun: list[str] = []
    sink = Background(Record(), begin=lambda: begun.append(threading.current_thread().name))
    sink.write(1)
    sink.close()
    assert begun == ["flowcli-background"]


def test_an_error_at_the_beginning_comes_out() -> None:
    def fail() -> None:
        raise KeyError("missing")

    sink = Background(Record(), begin=fail)
    with pytest.raises(KeyError, match="missing"):
        sink.close()


def test_background_takes_as_many_as_its_depth_while_one_is_written() -> None:
    gate = threading.Event()
    record = Record(gate)
    sink = Background(record, 2)
    sink.write(0)
    assert record.writing.wait(5)
    sink.write(1)
    sink.write(2)
    blocked = threading.Thread(target=sink.write, args=(3,))
    blocked.start()
    assert stays(blocked.is_alive)
    gate.set()
    blocked.join(5)
    sink.close()
    assert record.items == [0, 1, 2, 3]


def test_background_keeps_no_item_that_was_written() -> None:
    class Forget:
        def write(self, item: Item) -> None: ...
        def close(self) -> None: ...
        def abort(self) -> None: ...

    sink = Background[Item](Forget())
    item = Item()
    seen = weakref.ref(item)
    sink.write(item)
    del item
    assert released(seen)
    sink.close()


def test_an_error_of_the_sink_comes_out_at_a_later_write_and_the_queue_is_emptied() -> None:
    record = Record(fail_at=1)
    sink = Background(record, 2)

    def write_many() -> None:
        for number in range(1000):
            sink.write(number)

    with pytest.raises(BrokenPipeError, match="item 1"):
        write_many()
    assert record.items == [0]
    with pytest.raises(BrokenPipeError, match="item 1"):
        sink.close()
    assert record.state == "open"
    sink.abort()
    assert record.state == "aborted"


def test_an_error_at_the_last_item_comes_out_at_close() -> None:
    record = Record(fail_at=2)
    with pytest.raises(BrokenPipeError, match="item 2"):
        drain(range(3), [Background(record, 8)])
    assert record.state == "aborted"
    assert record.items == [0, 1]


def test_an_error_of_the_sinks_own_close_comes_out() -> None:
    class Unfinished(Record):
        def close(self) -> None:
            raise OSError("disk full")

    record = Unfinished()
    with pytest.raises(OSError, match="disk full"):
        drain(range(3), [Background(record)])
    assert record.state == "aborted"


@pytest.mark.slow
def test_abort_frees_a_writer_that_is_stuck() -> None:
    record = Record(threading.Event())
    sink = Background(record, 3)
    for number in range(3):
        sink.write(number)
    assert record.writing.wait(5)
    start = time.monotonic()
    sink.abort()
    assert time.monotonic() - start < 5
    assert record.state == "aborted"
    assert until(lambda: record.items == [0])
    assert stays(lambda: record.items == [0])


def test_one_failing_sink_of_two_aborts_both_and_ends_the_source() -> None:
    source = Source()
    good, bad = Record(), Record(fail_at=5)
    with prefetch(source) as items, pytest.raises(BrokenPipeError):
        drain(items, [Background(good), Background(bad)])
    assert (good.state, bad.state) == ("aborted", "aborted")
    assert source.closed.is_set()


@pytest.mark.slow
def test_stages_overlap() -> None:
    """Three stages of 20 ms and 15 items take little more than one of them, not the sum (900 ms)."""
    pause = 0.02

    def source() -> Iterator[int]:
        for number in range(15):
            time.sleep(pause)
            yield number

    class Slow(Record):
        def write(self, item: int) -> None:
            time.sleep(pause)
            super().write(item)

    def work(items: Iterator[int]) -> Iterator[int]:
        for item in items:
            time.sleep(pause)
            yield item

    start = time.monotonic()
    with prefetch(source()) as items:
        drain(work(items), [Background(Slow())])
    assert time.monotonic() - start < 0.7


def test_stopwatches_count_their_own_stage_only() -> None:
    decode, encode = Stopwatch(), Stopwatch()

    class Slow(Record):
        def write(self, item: int) -> None:
            time.sleep(0.02)

    with prefetch(iter(range(10)), watch=decode) as items:
        drain(items, [Background(Slow(), watch=encode)])
    assert (decode.items, encode.items) == (10, 10)
    assert encode.seconds >= 0.2
    assert decode.seconds < 0.1
    assert encode.rate == pytest.approx(10 / encode.seconds)


def test_stopwatch_ignores_a_block_that_raises() -> None:
    watch = Stopwatch()
    with pytest.raises(OSError, match="no"), watch.timed():
        raise OSError("no")
    assert watch == Stopwatch(0.0, 0)
    assert watch.rate is None


def test_what_is_left_to_do_is_done_in_the_thread_and_before_the_sink_is_closed() -> None:
    done: list[object] = []

    def sink(fail_at: int | None = None) -> Background[int]:
        record = Record(fail_at=fail_at)

        def end() -> None:
            done.append((threading.current_thread().name, list(record.items), record.state))

        return Background(record, end=end)

    assert drain(range(3), [sink()]) == 3
    assert done == [("flowcli-background", [0, 1, 2], "open")]
    # Not after an error, nor for what is given up.
    with pytest.raises(BrokenPipeError, match=r"^item 1$"):
        drain(range(3), [sink(fail_at=1)])
    sink().abort()
    assert len(done) == 1


def test_an_error_in_what_is_left_to_do_comes_out_of_close() -> None:
    def fail() -> None:
        raise OSError("the disk is full")

    record = Record()
    with pytest.raises(OSError, match=r"^the disk is full$"):
        drain([1], [Background(record, end=fail)])
    assert record.state == "aborted"


@pytest.mark.parametrize("depth", [0, -1])
def test_depth_below_one_is_a_bug(depth: int) -> None:
    with pytest.raises(ValueError, match=f"^depth must be at least 1, got {depth}$"):
        prefetch([], depth)
    with pytest.raises(ValueError, match=f"^depth must be at least 1, got {depth}$"):
        Background(Record(), depth)


def test_threads_of_torch_are_a_threads_own() -> None:
    """Whatever is set in another thread meanwhile."""
    import torch

    before = torch.get_num_threads()
    set_by_others, seen = threading.Event(), []

    def work() -> None:
        use_threads(3)
        set_by_others.wait(30)
        torch.ones(100_000).add_(1)
        seen.append(torch.get_num_threads())

    thread = threading.Thread(target=work)
    try:
        thread.start()
        other = threading.Thread(target=use_threads, args=(1,))
        other.start()
        other.join()
        set_by_others.set()
        thread.join()
    finally:
        torch.set_num_threads(before)
    assert seen == [3]
