"""Whole numbers of a vocabulary as places on a line."""

from __future__ import annotations

import torch
from torch import nn

from rsmoe.data.text_codec import TextCodec
from rsmoe.vision.positions import sine_positions

_LINE = 128
"""Numbers from 0 up to here have a place; those of boxes in percent, and of angles, are among them."""


@torch.no_grad()
def order_numbers(table: nn.Embedding, codec: TextCodec) -> None:
    """Gives the words "0" to "127" of an embedding table sines of what they count, in the table's own scale.

    A language model that writes boxes in words has to learn that 41 is next to 42. From random vectors it learns each
    number by itself, from the few boxes that hold it; from these a step of the hidden state along the line is a step of
    the coordinate, and where the table is tied to the output, neighbours are likely together. Ours.
    """
    vocabulary = codec.vocabulary()
    device = table.weight.device  # the meta device, where weights are loaded afterwards
    line = sine_positions(_LINE, 1, 2 * table.embedding_dim, device=device)[:, : table.embedding_dim]  # (_LINE, D)
    line = line * (table.weight.std() / line.std())
    for number in range(_LINE):
        if (row := vocabulary.get(str(number))) is not None:
            table.weight[row] = line[number].to(table.weight)
