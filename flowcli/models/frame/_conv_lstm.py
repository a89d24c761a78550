"""A convolutional LSTM in both directions whose state is aligned to each map before it is used.

Source: Zooming Slow-Mo, Xiang et al. 2020, arXiv:2002.11616, section 3.3; the cell is that of Shi et al. 2015,
arXiv:1506.04214, without peepholes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from flowcli.geometry import in_tiles
from flowcli.models.frame._alignment import Meeting, conv

TILE = 256
"""Side of the parts in which gates are computed, pixels: they have four times the channels of a map."""


class AlignedLSTM(nn.Module):
    """Maps that know of those before and after them. The same weights serve both directions."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.hidden, self.memory = Meeting(channels, groups), Meeting(channels, groups)
        self.gates = conv(2 * channels, 4 * channels)
        self.join = conv(2 * channels, channels, 1)

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """As many as `maps`, (N, C, h, w) each, which are taken out of the list: large ones are not kept for long."""
        state = (torch.zeros_like(maps[0]),) * 2
        forth: list[Tensor] = []
        for each in maps:
            state = self._step(each, *state)
            forth.append(state[0])
        state = (torch.zeros_like(maps[0]),) * 2
        joined: list[Tensor] = []
        while maps:
            state = self._step(maps.pop(), *state)
            joined.insert(0, self.join(torch.cat([forth.pop(), state[0]], 1)))
        return joined

    def _step(self, given: Tensor, hidden: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """The new hidden state and memory."""
        known = given, self.hidden(given, hidden), self.memory(given, memory)
        hidden, memory = in_tiles(self._updated, known, 0 if torch.is_grad_enabled() else TILE, 1)
        return hidden, memory

    def _updated(self, given: Tensor, hidden: Tensor, memory: Tensor) -> tuple[Tensor, ...]:
        write, forget, show, fresh = self.gates(torch.cat([given, hidden], 1)).chunk(4, 1)
        memory = forget.sigmoid() * memory + write.sigmoid() * fresh.tanh()
        return show.sigmoid() * memory.tanh(), memory
