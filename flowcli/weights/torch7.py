"""Reading weights from files that Torch7, the Lua library, wrote. Nothing in a file is run: functions are skipped.

Source of the format: torch/torch7, File.lua (objects, in its `writeObject`) and generic/Tensor.c, generic/Storage.c
(tensors and storages); its binary form, little endian. An object is an int of its type, then for

    nil       nothing
    number    a double
    string    its length, its bytes
    boolean   an int
    table     its index; if that is new: the number of entries, a key and a value object for each
    function  its index, which the oldest kind lacks; if that is new: the length of its code, the code, its upvalues
    torch     its index; if that is new: two strings, "V 1" and the class, or one, the class; then what the class writes

A tensor writes the number of dimensions as an int, its sizes, strides and offset (from 1) as longs, its storage as an
object or nil; a storage its size as a long and its elements; other classes a table of their fields. An int has 4 bytes,
a long 8 or, where the writer's had, 4.
"""

from __future__ import annotations

import math
import re
import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import torch
from torch import Tensor

DAMAGE = (ArithmeticError, LookupError, MemoryError, RuntimeError, TypeError, ValueError, struct.error)
"""What `weights` raises for data that is not what it claims to be."""

DTYPES = {
    "Double": torch.float64,
    "Float": torch.float32,
    "Half": torch.float16,
    "Long": torch.int64,
    "Int": torch.int32,
    "Short": torch.int16,
    "Char": torch.int8,
    "Byte": torch.uint8,
}
_DEEPEST = 100
"""How deep objects may be nested: networks have about 10 levels, and Python's limit of 1000 calls is not far."""
_MOST_DIMENSIONS = 64
_TOO_MANY = 1 << 62


class _Kind(IntEnum):
    NIL = 0
    NUMBER = 1
    STRING = 2
    TABLE = 3
    TORCH = 4
    BOOLEAN = 5
    FUNCTION = 6
    OLD_CLOSURE = 7
    CLOSURE = 8


@dataclass(frozen=True)
class _Object:
    """An object that is neither a tensor nor a plain value, such as a layer."""

    kind: str
    fields: dict[Any, Any]


def weights(data: bytes) -> dict[str, Tensor]:
    """Weights and biases of the convolutions in a serialised network: "0.weight", "0.bias", "2.weight" ...

    A name begins with the number of the layer in its container, from 0, and before it the numbers of the containers.
    Weights are (outputs, inputs, height, width). Raises one of DAMAGE if `data` is damaged, ValueError also if other
    layers have weights.
    """
    try:
        network = _Reader(data, "q").whole()
    except DAMAGE as error:
        try:
            network = _Reader(data, "i").whole()
        except DAMAGE:
            raise error from None
    found: dict[str, Tensor] = {}
    _collect(network, "", found, [])
    return found


def strided(flat: Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...]) -> Tensor:
    """The view of `flat`, (N,), from `offset` on. Raises ValueError if it reaches outside, or is larger than N."""
    all_of_it = (offset, *size, *stride)
    if len(size) != len(stride) or len(size) > _MOST_DIMENSIONS or min(all_of_it) < 0 or max(all_of_it) >= _TOO_MANY:
        raise ValueError("a tensor has a size or stride that cannot be")
    count = math.prod(size)
    last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
    if count and (count > len(flat) or last >= len(flat)):
        raise ValueError(f"a tensor wants more than the {len(flat)} numbers that there are")
    return flat.as_strided(size, stride, offset) if count else flat.new_empty(size)


class _Reader:
    """Reads one object after the other. long: how a long is packed, "q" or "i"."""

    def __init__(self, data: bytes, long: str) -> None:
        self.data = memoryview(data)
        self.long = long
        self.at = 0
        self.known: dict[int, Any] = {}

    def whole(self) -> Any:
        """The one object that all of the data are."""
        content = self.read(0)
        if self.at != len(self.data):
            raise ValueError(f"{len(self.data) - self.at} bytes too many")
        return content

    def take(self, count: int) -> memoryview:
        if not 0 <= count <= len(self.data) - self.at:
            raise ValueError(f"{count} bytes are wanted where {len(self.data) - self.at} are left")
        self.at += count
        return self.data[self.at - count : self.at]

    def numbers(self, kind: str, count: int = 1) -> tuple[Any, ...]:
        return struct.unpack(f"<{count}{kind}", self.take(struct.calcsize(f"<{kind}") * count))

    def integer(self) -> int:
        return int(self.numbers("i")[0])

    def string(self) -> str:
        return str(self.take(self.integer()), "latin-1")

    def read(self, depth: int) -> Any:
        """The next object: float, str, bool, dict, Tensor, _Object; None for nil and for a function."""
        if depth > _DEEPEST:
            raise ValueError(f"more than {_DEEPEST} objects lie within each other")
        kind = _Kind(self.integer())
        match kind:
            case _Kind.NIL:
                return None
            case _Kind.NUMBER:
                return self.numbers("d")[0]
            case _Kind.STRING:
                return self.string()
            case _Kind.BOOLEAN:
                return self.integer() == 1
            case _Kind.FUNCTION:
                return self.skip_function(depth)
        index = self.integer()
        if index not in self.known:
            self.known[index] = None
            if kind == _Kind.TABLE:
                self.known[index] = {}
                self.fill(self.known[index], depth)
            elif kind == _Kind.TORCH:
                self.known[index] = self.of_class(index, depth)
            else:
                self.skip_function(depth)
        return self.known[index]

    def skip_function(self, depth: int) -> None:
        self.string()
        self.read(depth + 1)

    def fill(self, table: dict[Any, Any], depth: int) -> None:
        for _ in range(self.integer()):
            key, value = self.read(depth + 1), self.read(depth + 1)
            if isinstance(key, str | float):
                table[key] = value

    def of_class(self, index: int, depth: int) -> Any:
        name = self.string()
        if name.startswith("V "):
            name = self.string()
        if numeric := re.fullmatch(r"torch\.(?:Cuda)?(\w*)(Tensor|Storage)", name):
            dtype = DTYPES[numeric[1] or "Float"]
            return self.tensor(dtype, depth) if numeric[2] == "Tensor" else self.storage(dtype)
        fields: dict[Any, Any] = {}
        self.known[index] = _Object(name, fields)
        fields.update(self.read(depth + 1))
        return self.known[index]

    def tensor(self, dtype: torch.dtype, depth: int) -> Tensor:
        dimensions = self.integer()
        size, stride = self.numbers(self.long, dimensions), self.numbers(self.long, dimensions)
        (offset,) = self.numbers(self.long)
        flat = self.read(depth + 1)
        if flat is None or not dimensions:  # Which means no elements, not one.
            return torch.empty(0, dtype=dtype)
        return strided(flat, offset - 1, size, stride)

    def storage(self, dtype: torch.dtype) -> Tensor:
        (count,) = self.numbers(self.long)
        if dtype == torch.int64 and self.long == "i":
            dtype = torch.int32
        content = bytearray(self.take(count * dtype.itemsize))
        return torch.frombuffer(content, dtype=dtype) if content else torch.empty(0, dtype=dtype)


def _collect(layer: Any, prefix: str, found: dict[str, Tensor], containers: list[_Object]) -> None:
    """Adds the convolutions in `layer` to `found`; containers: those that it is in, or that were before it."""
    if not isinstance(layer, _Object):
        return
    fields = layer.fields
    weight, bias, modules = fields.get("weight"), fields.get("bias"), fields.get("modules")
    if isinstance(modules, dict):
        if any(layer is each for each in containers):
            raise ValueError(f"{layer.kind[:40]!r} is used twice")
        containers.append(layer)
        # A network on several GPUs is there once for each of them.
        copies = layer.kind.endswith("DataParallelTable")
        for number in range(1, 2 if copies else len(modules) + 1):
            _collect(modules[number], prefix if copies else f"{prefix}{number - 1}.", found, containers)
    elif isinstance(weight, Tensor) and weight.numel():
        if not re.fullmatch(r"(nn|cudnn)\.SpatialConvolution(MM)?", layer.kind):
            raise ValueError(f"{layer.kind[:40]!r} has weights, and is no convolution")
        # Layers that multiply matrices keep (outputs, inputs * height * width).
        area = [int(fields[name]) for name in ("nInputPlane", "kH", "kW")] if weight.ndim == 2 else weight.shape[1:]
        found[f"{prefix}weight"] = weight.reshape(len(weight), *area)
        if isinstance(bias, Tensor) and bias.numel():
            found[f"{prefix}bias"] = bias
