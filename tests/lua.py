"""A writer of Torch7 files (the Lua library)."""

from __future__ import annotations

import itertools
import struct
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


class Lua:
    """Writes objects as Torch7 does. long: how a long is packed.

    Format: torch/torch7, File.lua and generic/Tensor.c.
    """

    def __init__(self, long: str = "q") -> None:
        self.long = long
        self.index = itertools.count(2)

    def text(self, words: str) -> bytes:
        return struct.pack("<i", len(words)) + words.encode("latin-1")

    def value(self, value: Any) -> bytes:
        if value is None:
            return struct.pack("<i", 0)
        if isinstance(value, bool):
            return struct.pack("<2i", 5, value)
        if isinstance(value, float | int):
            return struct.pack("<id", 1, value)
        if isinstance(value, str):
            return struct.pack("<i", 2) + self.text(value)
        if isinstance(value, np.ndarray):
            return self.tensor("torch.FloatTensor", value)
        if isinstance(value, dict):
            start = struct.pack("<3i", 3, next(self.index), len(value))
            return start + b"".join(self.value(each) for pair in value.items() for each in pair)
        assert isinstance(value, bytes)
        return value

    def of_class(self, name: str, content: bytes, version: str = "V 1") -> bytes:
        return (
            struct.pack("<2i", 4, next(self.index))
            + (self.text(version) if version else b"")
            + self.text(name)
            + content
        )

    def layer(self, name: str, **fields: Any) -> bytes:
        return self.of_class(name, self.value(fields))

    def storage(self, name: str, numbers: Array) -> bytes:
        return self.of_class(name, struct.pack(f"<{self.long}", numbers.size) + numbers.tobytes())

    def tensor(self, name: str, numbers: Array, offset: int = 1) -> bytes:
        stride = [step // numbers.itemsize for step in numbers.strides]
        longs = struct.pack(f"<{2 * numbers.ndim + 1}{self.long}", *numbers.shape, *stride, offset)
        storage = self.storage(name.replace("Tensor", "Storage"), np.ascontiguousarray(numbers))
        return self.of_class(name, struct.pack("<i", numbers.ndim) + longs + storage)

    def none(self, name: str = "torch.FloatTensor") -> bytes:
        """A tensor without elements, such as a cleared buffer of a layer."""
        return self.of_class(name, struct.pack(f"<i{self.long}", 0, 1) + self.value(None))

    def function(self, kind: int) -> bytes:
        index = b"" if kind == 6 else struct.pack("<i", next(self.index))
        return struct.pack("<i", kind) + index + self.text("\x1bLJ") + self.value({1: {"name": "self", "value": 1}})

    def convolution(
        self, weight: Array, bias: Array, name: str = "nn.SpatialConvolution", flat: bool = False, **more: Any
    ) -> bytes:
        inputs, height, width = weight.shape[1:]
        numbers = {"nInputPlane": inputs, "kH": height, "kW": width, "dW": 1, "padW": 3}
        shaped = weight.reshape(len(weight), -1) if flat else weight
        buffers = {"gradWeight": self.none(), "output": self.none("torch.CudaTensor"), "train": False, **more}
        return self.layer(name, **numbers, **buffers, weight=shaped, bias=bias)

    def sequential(self, *layers: bytes, name: str = "nn.Sequential", **fields: Any) -> bytes:
        return self.layer(name, modules=dict(enumerate(layers, 1)), **fields)


def whole(content: bytes) -> bytes:
    """A whole file: its object has index 1, and later indices count from 2."""
    return content[:4] + struct.pack("<i", 1) + content[8:]
