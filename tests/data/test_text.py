"""TextCodec: words, real Hugging Face tokenizers of both families, and the round trip through a checkpoint."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from rsmoe.data.text_codec import TextCodec
from rsmoe.errors import UserError

TEXTS = ("There are twenty-two storage tanks , 2.5 m wide .", "Is it Rural?", "the ship’s deck", "a b c 1 2 3 sure")
SPECIAL = ("[SEG]", "[RET]")
WORDS = ("there", "are", "twenty-two", "storage", "tanks", "2.5", "rural", "1", "b", ",", ".", "?", "[SEG]", "[RET]")


@pytest.fixture(scope="module")
def words() -> TextCodec:
    return TextCodec.fit(TEXTS, special=SPECIAL)


def bpe(folder: Path) -> Path:
    """GPT-2's kind: byte pairs, one end token, no pad, nothing around a text."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.train_from_iterator(TEXTS, trainers.BpeTrainer(vocab_size=300, special_tokens=["<|endoftext|>"]))
    end = "<|endoftext|>"
    PreTrainedTokenizerFast(tokenizer_object=backend, eos_token=end, bos_token=end).save_pretrained(folder)
    return folder


def bert(folder: Path) -> Path:
    """BERT's kind: [CLS] before and [SEP] after each text, no end token."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    backend = Tokenizer(models.WordLevel({w: i for i, w in enumerate([*special, "is", "it", "rural", "?"])}, "[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="[PAD]", unk_token="[UNK]").save_pretrained(folder)
    return folder


def test_words_and_marks_are_lower_cased_and_joined_by_spaces(words: TextCodec) -> None:
    assert words.decode(words.encode("There are TWENTY-TWO tanks,2.5 m.")) == "there are twenty-two tanks , 2.5 m ."
    assert words.decode(words.encode("the ship's deck")) == "the ship's deck"
    assert words.decode(words.encode("there are penguins")) == "there are [UNK]"
    assert words.encode("") == [] and words.decode([]) == ""


def test_special_tokens_are_whole_and_shown(words: TextCodec) -> None:
    ids = words.encode("Sure, [SEG].")
    assert ids.count(words.token_id("[SEG]")) == 1
    framed = [words.bos_id, *ids, words.eos_id, words.pad_id]
    assert words.decode([i for i in framed if i is not None]) == "sure , [SEG] ."
    with pytest.raises(UserError, match=r"no token '\[BOX\]'.*\[SEG\], \[RET\]"):
        words.token_id("[BOX]")


@given(st.lists(st.sampled_from(WORDS), max_size=12))
def test_decode_undoes_encode(chosen: list[str]) -> None:
    codec = TextCodec.fit(TEXTS, special=SPECIAL)
    text = " ".join(chosen)
    assert codec.decode(codec.encode(text)) == text


def test_the_vocabulary_is_the_same_in_any_order_and_keeps_frequent_words() -> None:
    orders = (TEXTS, TEXTS[::-1])
    assert len({TextCodec.fit(texts, special=SPECIAL).state()["tokenizer"] for texts in orders}) == 1
    codec = TextCodec.fit(["a a b", "a b"])
    assert codec.decode(codec.encode("a b c")) == "a b [UNK]" and codec.vocab_size == 6
    with pytest.raises(UserError, match="vocabulary would be empty"):
        TextCodec.fit(["", " "])


@pytest.mark.parametrize("kind", ["words", "bpe", "bert"])
def test_state_survives_a_checkpoint_and_pickling(kind: str, tmp_path: Path, words: TextCodec) -> None:
    made = {"bpe": bpe, "bert": bert}
    codec = words if kind == "words" else TextCodec.from_pretrained(str(made[kind](tmp_path / "t")), special=SPECIAL)
    torch.save(codec.state(), tmp_path / "codec.pt")
    loaded = TextCodec.from_state(torch.load(tmp_path / "codec.pt", weights_only=True))
    for other in (loaded, pickle.loads(pickle.dumps(codec))):
        assert other.state() == codec.state()
        for text in (*TEXTS, "new words [SEG] here", ""):
            assert other.encode(text, wrap=True) == codec.encode(text, wrap=True)
            assert other.decode(other.encode(text)) == codec.decode(codec.encode(text))
        same = ("pad_id", "eos_id", "bos_id", "vocab_size", "special")
        assert all(getattr(other, name) == getattr(codec, name) for name in same)


def test_byte_pairs_round_trip_and_pad_with_the_end_token(tmp_path: Path) -> None:
    codec = TextCodec.from_pretrained(str(bpe(tmp_path)), special=SPECIAL)
    assert codec.pad_id == codec.eos_id == codec.bos_id
    text = "Is it Rural? 2.5 m"
    assert codec.decode([*codec.encode(text), codec.eos_id]) == text
    assert codec.encode("it [SEG]")[-1] == codec.token_id("[SEG]") == codec.vocab_size - 2
    assert max(codec.tokenizer.get_vocab().values()) == codec.vocab_size - 1


def test_wrapping_and_its_limit(tmp_path: Path) -> None:
    codec = TextCodec.from_pretrained(str(bert(tmp_path)))
    assert codec.encode("is it rural", wrap=True) == [2, 4, 5, 6, 3]
    assert codec.encode("is it rural", wrap=True, last=4) == [2, 5, 6, 3]
    assert codec.encode("is it rural", last=2) == [5, 6]
    assert codec.eos_id is None


def test_a_tokenizer_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no tokenizer could be loaded from .*tokenizer.json"):
        TextCodec.from_pretrained(str(tmp_path))
