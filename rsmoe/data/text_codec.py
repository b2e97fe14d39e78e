"""Text to token ids and back, the same calls for a vocabulary of words and for any Hugging Face tokenizer."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

from rsmoe.errors import UserError
from rsmoe.weights.pretrained import source

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

_WORD = r"\d+(?:[.,]\d+)+|\w+(?:['-]\w+)*|[^\w\s]"
"""A number, a word with its hyphens and apostrophes ("twenty-two"), or one punctuation mark."""

_ROLES = ("pad_token", "unk_token", "bos_token", "eos_token")


class TextCodec:
    """A tokenizer with what training needs: a pad, an end, and special tokens that heads read.

    Build one with `fit`, `from_pretrained` or `from_state`. Its vocabulary never changes afterwards.

    Attributes:
        backend: what splits texts, of the library ``tokenizers``.
        roles: "pad_token", "eos_token" ... -> the token.
        special: tokens kept whole by `encode` and shown by `decode`, "[SEG]".
        pad_id, eos_id, bos_id: ids, the latter two None where the tokenizer has no such token.
        vocab_size: rows that an embedding needs: the highest id, added tokens included, plus one.
    """

    def __init__(self, *, backend: Tokenizer, roles: Mapping[str, str], special: Sequence[str] = ()) -> None:
        self.backend, self.roles, self.special = backend, dict(roles), tuple(special)
        known = backend.get_vocab()
        if missing := [token for token in self.special if token not in known]:
            backend.add_special_tokens(missing)
        # Masks say what is padding, so any id serves; a new one would grow the language model's embedding.
        pad = next((self.roles[role] for role in ("pad_token", "eos_token", "unk_token") if role in self.roles), None)
        if pad is None:
            raise UserError("the tokenizer has no pad, end or unknown token, so that texts cannot be padded with it")
        self.roles["pad_token"] = pad
        self.pad_id = self.token_id(pad)
        self.eos_id, self.bos_id, self._unknown_id = (
            self.token_id(self.roles[role]) if role in self.roles else None
            for role in ("eos_token", "bos_token", "unk_token")
        )
        self._hidden = {self.pad_id, self.eos_id, self.bos_id}
        self.vocab_size = max(backend.get_vocab(with_added_tokens=True).values()) + 1

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerFast:
        """The same for transformers, which writes it into folders."""
        from transformers import PreTrainedTokenizerFast  # here: a second, which neither training nor an answer needs

        return PreTrainedTokenizerFast(tokenizer_object=self.backend, clean_up_tokenization_spaces=False, **self.roles)

    @classmethod
    def fit(cls, texts: Iterable[str], *, special: Sequence[str] = ()) -> TextCodec:
        """A lower-cased vocabulary of the words and marks of ``texts``, the most frequent first, ties by alphabet.

        Args:
            texts: training texts only; words of other splits become "[UNK]".

        Raises:
            UserError: when the texts hold no word at all.
        """
        normalizer = normalizers.Sequence(
            [normalizers.NFKC(), normalizers.Replace("\u2019", "'"), normalizers.Lowercase()]
        )
        splitter = pre_tokenizers.Split(Regex(_WORD), "removed", invert=True)
        counts: Counter[str] = Counter()
        for text, times in Counter(texts).items():
            for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text)):
                counts[word] += times
        words = sorted(counts, key=lambda w: (-counts[w], w))
        if not words:
            raise UserError("no word occurs in the training texts: the vocabulary would be empty")
        first = ["[PAD]", "[UNK]", "[BOS]", "[EOS]", *special]
        vocabulary = {token: i for i, token in enumerate([*first, *(w for w in words if w not in first)])}
        backend = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
        backend.normalizer = normalizer
        backend.pre_tokenizer = splitter
        backend.add_special_tokens(first)
        roles = dict(zip(_ROLES, first, strict=False))
        return cls(backend=backend, roles=roles, special=special)

    @classmethod
    def from_pretrained(cls, name: str, *, special: Sequence[str] = ()) -> TextCodec:
        """A tokenizer by its Hugging Face name or local folder; ``special`` tokens that it lacks are added.

        `vocab_size` then exceeds the checkpoint's: resize the model's embedding to it.

        Raises:
            UserError: when it cannot be loaded, or is not a fast (Rust) tokenizer.
        """
        from transformers import AutoTokenizer, PreTrainedTokenizerFast  # here: see `tokenizer`

        try:
            place, options = source(name)
            tokenizer = AutoTokenizer.from_pretrained(place, **options)
        except (OSError, ValueError, ImportError) as error:
            reason = str(error).strip().splitlines()[0]
            raise UserError(
                f"no tokenizer could be loaded from {name!r}: {reason} "
                "Give a folder with tokenizer.json, or a name on the Hugging Face hub"
            ) from error
        if not isinstance(tokenizer, PreTrainedTokenizerFast):
            raise UserError(f"{name!r} has no fast tokenizer. Convert it to tokenizer.json with transformers first")
        roles = {role: str(token) for role in _ROLES if (token := getattr(tokenizer, role)) is not None}
        codec = cls(backend=tokenizer.backend_tokenizer, roles=roles, special=special)
        tokenizer.pad_token = codec.roles["pad_token"]
        codec.tokenizer = tokenizer  # with what its folder says beside it: a chat template
        return codec

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> TextCodec:
        """The codec that `state` describes, token for token; `UserError` where that is no tokenizer."""
        try:
            return cls(backend=Tokenizer.from_str(state["tokenizer"]), roles=state["roles"], special=state["special"])
        except Exception as error:  # tokenizers has no errors of its own
            raise UserError(f"the tokenizer in the checkpoint cannot be read: {error}") from error

    def state(self) -> dict[str, Any]:
        """Plain strings and lists, fit for a checkpoint that is loaded with ``weights_only=True``."""
        definition = json.loads(self.backend.to_str()) | {"truncation": None, "padding": None}
        return {"tokenizer": json.dumps(definition), "roles": dict(self.roles), "special": list(self.special)}

    def encode(self, text: str, *, wrap: bool = False, last: int | None = None) -> list[int]:
        """Ids of ``text``.

        Args:
            text: any text; `special` tokens in it become their own ids.
            wrap: also what the tokenizer itself puts around a text (``[CLS]`` .. ``[SEP]``).
            last: keep so many ids at most, the wrapping and the end of the text.
        """
        encoded = self.backend.encode(text, add_special_tokens=wrap)
        ids: list[int] = encoded.ids
        if last is None or len(ids) <= last:
            return ids
        inner = [k for k, added in enumerate(encoded.special_tokens_mask) if not added]
        dropped = set(inner[: len(ids) - last])
        return [i for k, i in enumerate(ids) if k not in dropped]

    def decode(self, ids: Iterable[int], *, strip: bool = True) -> str:
        """Text of ``ids`` without pad, begin and end; `special` tokens stay, words of `fit` are joined by spaces.

        Args:
            strip: without white space at both ends.
        """
        shown = [i for i in ids if i not in self._hidden]
        text = str(self.backend.decode(shown, skip_special_tokens=False))
        return text.strip() if strip else text

    def vocabulary(self) -> dict[str, int]:
        """Every token and its id."""
        return dict(self.backend.get_vocab())

    def unknown_words(self, text: str) -> list[str]:
        """Words of a text that the vocabulary lacks; none where a tokenizer spells out what it does not know."""
        unknown = self._unknown_id
        return [] if unknown is None else [word for word in text.split() if unknown in self.encode(word)]

    def token_id(self, token: str) -> int:
        """Id of one token of the vocabulary, "[SEG]"; `UserError` when there is none."""
        found = self.backend.token_to_id(token)
        if found is None:
            raise UserError(f"the vocabulary has no token {token!r}; special tokens: {', '.join(self.special) or '-'}")
        return int(found)
