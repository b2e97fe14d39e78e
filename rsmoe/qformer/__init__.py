"""Q-Former contract: visual memory + instruction -> queries.

A module is an ``nn.Module`` in one file with one yaml in ``conf/qformer/``; its constructor takes ``memory_width``
and ``vocab_size`` (the model passes both):

- ``forward(memory: VisualMemory, instruction_ids: (B, L), instruction_mask: (B, L) bool) -> Tensor (B, M, D)``;
- ``queries: int`` M, ``width: int`` D.
"""
