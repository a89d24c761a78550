"""The content of a pickle, found without unpickling it: its operations are followed with lists and dicts alone.

Nothing is imported, and nothing that a pickle names is called, so no pickle can run code. The results of the few calls
that checkpoints of torch need are known here; every other call gives an empty dict.

Source of the operations: `pickletools` of the standard library, which describes each of them.
"""

from __future__ import annotations

import pickletools
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO, Any

_MOST_STEPS = 1_000_000
"""Operations and copied items in one pickle; the 60 tensors of SpyNet take 2,051."""
_LONGEST_NAME = 1000


@dataclass(frozen=True)
class Global:
    """The name of something that a pickle would import."""

    name: str


@dataclass(frozen=True)
class Reference:
    """A reference to data outside the pickle; torch's label: ("storage", Global of its type, key, device, elements)."""

    label: Any


@dataclass(frozen=True)
class View:
    """A tensor; its arguments: (Reference, offset, size, stride, and others that are not needed)."""

    arguments: Any


@dataclass
class Pickle:
    """A pickle that was read.

    content: lists, tuples, dicts with strings for keys, the classes above, and plain values. references: every
    reference in it. calls: the names of what it would have called, beyond what tensors and dicts need.
    """

    content: Any = None
    references: list[Reference] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    _steps: int = 0

    def spend(self, steps: int = 1) -> None:
        """Counts what was done: a few bytes can ask for any number of copies. Raises ValueError if it is too much."""
        self._steps += steps
        if self._steps > _MOST_STEPS:
            raise ValueError(f"a pickle of more than {_MOST_STEPS} steps")

    def call(self, callee: Any, arguments: Any) -> Any:
        """The result of the call, if it is known; otherwise an empty dict, which the pickle may fill."""
        match callee:
            case Global(name) | Reference(("module", Global(name), *_)):
                pass
            case _:
                name = type(callee).__name__
        if name in ("torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2"):
            return View(arguments)
        if name in ("torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state"):
            return arguments[0]
        if name == "collections.OrderedDict":
            # Python 2 hands the items to the constructor.
            for pairs in arguments:
                self.spend(len(pairs))
            return {key: value for pairs in arguments for key, value in pairs if isinstance(key, str)}
        self.calls.append(name)
        return {}


def read_pickle(file: IO[bytes]) -> Pickle:
    """The pickle at the position of the file, which is behind the pickle afterwards.

    Raises ValueError, TypeError, LookupError or AttributeError if it is damaged.
    """
    pickle = Pickle()
    stack: list[Any] = []
    marked: list[list[Any]] = []
    memo: dict[int, Any] = {}

    def since_mark() -> list[Any]:
        nonlocal stack
        items, stack = stack, marked.pop()
        return items

    def fill(items: list[Any]) -> None:
        # Strings alone: to hash a tuple in a tuple in a tuple ... overflows the interpreter's stack.
        entries = zip(items[::2], items[1::2], strict=True)
        if isinstance(stack[-1], dict):
            stack[-1].update((key, value) for key, value in entries if isinstance(key, str))

    argument: Any
    for operation, argument in _operations(file):
        pickle.spend()
        match operation.name:
            case "PROTO" | "FRAME" | "READONLY_BUFFER":
                pass
            case "STOP":
                pickle.content = stack.pop()
            case "MARK":
                marked.append(stack)
                stack = []
            case "POP" if not stack:
                stack = marked.pop()
            case "POP":
                stack.pop()
            case "POP_MARK" | "ADDITEMS":
                since_mark()
            case "DUP":
                stack.append(stack[-1])
            case "MEMOIZE":
                memo[len(memo)] = stack[-1]
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                memo[argument] = stack[-1]
            case "GET" | "BINGET" | "LONG_BINGET":
                stack.append(memo[argument])
            case "NONE":
                stack.append(None)
            case "NEWTRUE" | "NEWFALSE":
                stack.append(operation.name == "NEWTRUE")
            case "EMPTY_LIST" | "EMPTY_SET":
                stack.append([])
            case "EMPTY_DICT":
                stack.append({})
            case "EMPTY_TUPLE":
                stack.append(())
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                count = int(operation.name[-1])
                stack[-count:] = [tuple(stack[-count:])]
            case "TUPLE" | "LIST" | "FROZENSET":
                items = since_mark()
                stack.append(tuple(items) if operation.name == "TUPLE" else items)
            case "DICT":
                items = since_mark()
                stack.append({})
                fill(items)
            case "APPEND" | "APPENDS":
                items = since_mark() if operation.name == "APPENDS" else [stack.pop()]
                if isinstance(stack[-1], list):
                    stack[-1].extend(items)
            case "SETITEM" | "SETITEMS":
                items = since_mark() if operation.name == "SETITEMS" else [stack.pop(-2), stack.pop()]
                fill(items)
            case "GLOBAL":
                stack.append(Global(argument.replace(" ", ".", 1)))
            case "STACK_GLOBAL":
                stack.append(_global([stack.pop(-2), stack.pop()]))
            case "INST" | "OBJ":
                items = since_mark()
                callee = items.pop(0) if operation.name == "OBJ" else Global(argument.replace(" ", ".", 1))
                stack.append(pickle.call(callee, tuple(items)))
            case "REDUCE" | "NEWOBJ" | "NEWOBJ_EX":
                if operation.name == "NEWOBJ_EX":
                    stack.pop()
                stack.append(pickle.call(stack.pop(-2), stack.pop()))
            case "BUILD":
                # The state of an object. That of a state dict tells versions of layers.
                stack.pop()
            case "PERSID" | "BINPERSID":
                pickle.references.append(Reference(stack.pop() if operation.name == "BINPERSID" else argument))
                stack.append(pickle.references[-1])
            case "EXT1" | "EXT2" | "EXT4":
                stack.append(Global(f"extension.{argument}"))
            case _:
                stack.append(argument)
    return pickle


def _global(parts: list[str]) -> Global:
    if sum(map(len, parts)) > _LONGEST_NAME:
        raise ValueError("the name of a class is too long")
    return Global(".".join(parts))


def _operations(file: IO[bytes]) -> Iterator[tuple[pickletools.OpcodeInfo, Any]]:
    with warnings.catch_warnings():
        # Of backslashes in names.
        warnings.simplefilter("ignore", DeprecationWarning)
        yield from ((operation, argument) for operation, argument, _ in pickletools.genops(file))
