"""Generation: how the rows of one request become one text.

A **fusion** is an ``nn.Module`` in one file with one yaml in ``conf/fusion/``:

- ``losses(model, batch, reading, *, smoothing) -> dict[str, Tensor]``: the text loss of given responses;
- ``generate(model, batch, perception, *, end_id, beams, max_new) -> list of token ids, one a request``.

`decoding.decode` is the search that both share: greedy, or with beams, over rows that may belong to several experts.
"""
