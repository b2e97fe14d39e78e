"""Stop words: strings before the first of which an answer ends."""

from __future__ import annotations

from collections.abc import Sequence

from rsmoe.data.text_codec import TextCodec
from rsmoe.errors import UserError


class StopWords:
    """Finds the first of some strings in an answer as it is written.

    A string may begin or end within a token. What is searched is the text without white space at its beginning, as
    answers are shown; a codec of `TextCodec.fit` writes lower case.

    Args:
        words: one or more, none of them empty.
        codec: of the language model.

    Raises:
        UserError: no words, or an empty one.
    """

    def __init__(self, words: Sequence[str], *, codec: TextCodec) -> None:
        if not words or not all(isinstance(word, str) and word for word in words):
            raise UserError(f"stop={list(words)}: expected texts that are not empty, ['.'] or [' and ',';']")
        self.words, self.codec = tuple(words), codec

    def found(self, ids: Sequence[int]) -> bool:
        """Whether the answer holds one of them."""
        return self._end(self._text(ids)) is not None

    def cut(self, ids: Sequence[int]) -> tuple[list[int], str]:
        """The tokens that lie wholly before the first of them, and the text before it; all, where there is none."""
        text = self._text(ids)
        end = self._end(text)
        if end is None:
            return list(ids), text.strip()
        kept = next(n for n in range(len(ids), -1, -1) if len(self._text(ids[:n])) <= end)
        return list(ids[:kept]), text[:end].strip()

    def settled(self, ids: Sequence[int]) -> str:
        """The text that no further token can take back: without an end that may be the beginning of a stop word."""
        text = self._text(ids)
        end = self._end(text)
        if end is None:
            longest = max(map(len, self.words)) - 1
            starts = range(max(0, len(text) - longest), len(text))
            end = next((i for i in starts if any(word.startswith(text[i:]) for word in self.words)), len(text))
        return text[:end].rstrip()

    def _text(self, ids: Sequence[int]) -> str:
        return self.codec.decode(ids, strip=False).lstrip()

    def _end(self, text: str) -> int | None:
        places = [place for word in self.words if (place := text.find(word)) >= 0]
        return min(places, default=None)
