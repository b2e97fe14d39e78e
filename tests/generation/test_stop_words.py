"""Stop words that lie within tokens and across them, in answers and in what is streamed of them."""

from __future__ import annotations

import pytest
from support.chains import Letters
from support.models import batch_of, codecs, tiny_model

from rsmoe.data.text_codec import TextCodec
from rsmoe.errors import UserError
from rsmoe.generation.decoding import Decoding
from rsmoe.generation.stop_words import StopWords


class Pieces(TextCodec):
    """Tokens that are pieces of a text, white space among them."""

    def __init__(self, *pieces: str) -> None:
        self.pieces = pieces

    def decode(self, ids: object, *, strip: bool = True) -> str:
        text = "".join(self.pieces[i] for i in ids)  # type: ignore[attr-defined]
        return text.strip() if strip else text


@pytest.mark.parametrize(
    ("words", "kept", "text"),
    [
        (["ships"], 2, "two"),
        (["ps a"], 2, "two shi"),
        ([" "], 2, "two"),
        (["\n"], 6, "two ships and a b."),
        (["b.", "and"], 3, "two ships"),
        (["Ships"], 8, "two ships and a b.\nend"),
        (["\nt"], 8, "two ships and a b.\nend"),
        (["two"], 1, ""),
    ],
)
def test_the_answer_ends_before_the_first_one(words: list[str], kept: int, text: str) -> None:
    codec = Pieces("\n", "two", " ships", " and", " a b", ".", "\n", "end")
    stop, ids = StopWords(words, codec=codec), list(range(8))
    assert stop.cut(ids) == (ids[:kept], text)
    first = next((n for n in range(9) if stop.found(ids[:n])), None)
    assert (first is None) == (text.endswith("end"))
    for n in range(9):  # what was shown is never taken back, and no more than it has to be is held back
        shown = stop.settled(ids[:n])
        assert text.startswith(shown)
        assert len(shown) >= len(stop.cut(ids[:n])[1]) - max(map(len, words)) + 1
    assert first is None or stop.settled(ids[:first]) == text


@pytest.mark.parametrize("words", [[], [""], ["a", ""]])
def test_an_empty_stop_word_is_refused(words: list[str]) -> None:
    with pytest.raises(UserError, match=r"^stop=.*: expected texts that are not empty"):
        StopWords(words, codec=Letters())


def test_greedy_answers_end_where_the_whole_text_has_it() -> None:
    model, batch, codec = tiny_model(), batch_of(), codecs()[0]
    assert codec.eos_id is not None
    whole = model.generate(batch, end_id=codec.eos_id, max_new=10)
    second = [codec.decode([ids[1]]) for ids in whole]
    each = [Decoding(max_new=10, stop=StopWords([word], codec=codec)) for word in second]
    ended = model.generate(batch, end_id=codec.eos_id, max_new=10, each=each)
    for one, ids, own in zip(each, whole, ended, strict=True):
        assert one.stop is not None
        assert own == ids[: len(own)] and len(own) <= 2 and one.stop.found(own)
        assert one.stop.cut(own)[1] == codec.decode(ids).partition(one.stop.words[0])[0].strip()
