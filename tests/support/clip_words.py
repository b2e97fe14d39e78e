"""A tokenizer with CLIP's frame and forty words, and the pairs of generated scenes that are read with it."""

from __future__ import annotations

from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

WORDS = 40
"""w0 to w37, and what stands around a text; the end has the highest id, as in CLIP."""

TEXT = {
    "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": WORDS,
    "max_position_embeddings": 12, "bos_token_id": WORDS - 2, "eos_token_id": WORDS - 1, "pad_token_id": WORDS - 1,
}  # fmt: skip
"""Config of a text model that reads them."""

SCENES = (
    "~corpus.ucm", "~corpus.rsicd", "+data@corpus.scenes.reader=scenes", "+corpus.scenes.as=retrieval",
    "+corpus.scenes.splits={train:train}", "corpus.scenes.reader.size=16", "corpus.scenes.reader.tasks=[retrieval]",
    "stage.steps=2", "stage.warmup=0", "stage.batch_size=4", "stage.lr=1e-2",
)  # fmt: skip
"""Words behind ``recipe=clip_finetune``."""


def clip_tokenizer() -> PreTrainedTokenizerFast:
    words = {f"w{i}": i for i in range(WORDS - 2)} | {"<s>": WORDS - 2, "<e>": WORDS - 1}
    backend = Tokenizer(models.WordLevel(words, unk_token="w0"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A <e>", special_tokens=[("<s>", WORDS - 2), ("<e>", WORDS - 1)]
    )
    roles = {"bos_token": "<s>", "eos_token": "<e>", "pad_token": "<e>", "unk_token": "w0"}
    return PreTrainedTokenizerFast(tokenizer_object=backend, **roles)
