"""Sizes of a tiny model, for tests that compose it and for those that type it."""

SMALL = (
    "qformer.width=16",
    "qformer.layers=1",
    "qformer.heads=2",
    "qformer.queries=3",
    "qformer.intermediate=32",
    "lm.config.hidden_size=16",
    "lm.config.intermediate_size=32",
    "lm.config.num_hidden_layers=2",
    "lm.config.num_attention_heads=2",
    "lm.config.num_key_value_heads=2",
    "lm.config.tie_word_embeddings=false",  # tied and random, it repeats its last word
    "bank.rank=4",
    "bank.alpha=8",
    "router.hidden=16",
)
"""Sizes of all parts but the encoder."""
