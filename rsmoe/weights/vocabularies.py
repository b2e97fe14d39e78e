"""Tokenizers held against the pretrained tables of words that they are read with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rsmoe.errors import UserError


def check_vocabularies(config: Mapping[str, Any]) -> None:
    """Nothing, where every pretrained table of words is read with a tokenizer that may be its own.

    Raises:
        UserError: words fitted on the training text, or another checkpoint's, would meet foreign rows.
    """
    lm, instruction = config["text"]["lm"], config["text"]["instruction"]
    qformer, prompts = config["qformer"], config["prompts"].get("lm") or {}
    tables = [
        ("lm.pretrained", config["lm"].get("pretrained"), "text.lm", lm),
        ("prompts.lm.pretrained", prompts.get("pretrained"), "text.lm", lm),
        *((f"qformer.{key}", qformer.get(key), "text.instruction", instruction) for key in ("bert", "instructblip")),
    ]
    for key, name, codec_key, codec in tables:
        if name and not codec:
            raise UserError(
                f"{codec_key}=null fits a vocabulary on the training text, and {key}={name} has a table of its own: "
                f"words would be read by foreign rows. Leave {codec_key} out, or give the tokenizer: {codec_key}={name}"
            )
        if name and codec != name and codec_key == "text.lm":
            _same_words(key, str(name), str(codec))


def _same_words(key: str, name: str, codec: str) -> None:
    """`UserError` where the checkpoint has a tokenizer, and ``codec`` gives its words other numbers."""
    from rsmoe.data.text_codec import TextCodec

    try:
        own = TextCodec.from_pretrained(name).vocabulary()
    except UserError:
        return  # weights alone: nothing to compare with
    given = TextCodec.from_pretrained(codec).vocabulary()
    for word, number in own.items():
        if given.get(word, number) != number:
            raise UserError(
                f"text.lm={codec} gives {word!r} the number {given[word]}, and {key}={name} has it in row {number}: "
                f"words would be read by foreign rows. Give text.lm={name}"
            )
