"""The body of ``/v1/chat/completions`` in OpenAI's form, and what it asks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, Len
from pydantic import BaseModel, ConfigDict, ValidationError

from rsmoe.web.problem import Problem

_UNUSED = ("temperature", "top_p", "seed", "presence_penalty", "frequency_penalty")
_REFUSED = ("stop", "tools", "tool_choice", "functions", "logprobs", "top_logprobs", "response_format", "logit_bias")
Text = Annotated[str, Len(0, 16_000)]


class ImageUrl(BaseModel):
    """Where a picture is."""

    url: str


class Part(BaseModel):
    """A piece of a message: text, or a picture."""

    type: Literal["text", "image_url"]
    text: Text | None = None
    image_url: ImageUrl | str | None = None


class Message(BaseModel):
    """A turn."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Text | Annotated[list[Part], Len(1, 100)]

    @property
    def text(self) -> str:
        """Its words."""
        if isinstance(self.content, str):
            return self.content
        return "\n".join(part.text for part in self.content if part.type == "text" and part.text)

    @property
    def pictures(self) -> list[str]:
        """Addresses of its pictures."""
        if isinstance(self.content, str):
            return []
        found = [part.image_url for part in self.content if part.type == "image_url"]
        return ["" if url is None else url if isinstance(url, str) else url.url for url in found]


class StreamOptions(BaseModel):
    """Of ``stream``."""

    include_usage: bool = False


class Extra(BaseModel):
    """What OpenAI's form has no place for."""

    model_config = ConfigDict(extra="forbid")

    beams: Annotated[int, Ge(1), Le(16)] | None = None
    geojson: bool = False
    """Also masks, maps and boxes as GeoJSON."""
    pictures: bool = False
    """Also the pictures as JPEG: what a browser cannot show of a GeoTIFF."""


class ChatRequest(BaseModel):
    """A request; fields of OpenAI's form that are not named here are not read."""

    model_config = ConfigDict(extra="allow")

    model: str = "mixture"
    messages: Annotated[list[Message], Len(1, 200)]
    n: Literal[1] | None = 1
    max_tokens: Annotated[int, Gt(0)] | None = None
    max_completion_tokens: Annotated[int, Gt(0)] | None = None
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    rsmoe: Extra = Extra()


@dataclass(frozen=True, kw_only=True)
class Question:
    """What the messages come to."""

    pictures: list[str]
    """Addresses, in temporal order."""
    instruction: str | None
    history: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    """What of the request has no effect."""


def read_chat(body: bytes) -> ChatRequest:
    """Parses a body.

    Raises:
        Problem: no JSON, or not of this form; fields that would change the answer and cannot be honoured.
    """
    try:
        chat = ChatRequest.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise Problem(400, f"{place or 'body'}: {first['msg']}", param=place or None) from None
    refused = [name for name in _REFUSED if (chat.model_extra or {}).get(name) not in (None, False, [], {})]
    if refused:
        raise Problem(400, f"{refused[0]}: this model cannot do that; leave it out", param=refused[0])
    return chat


def question(chat: ChatRequest) -> Question:
    """The last turn, with the pictures of the last message that has some; the turns since then are its history.

    Raises:
        Problem: the last message is not the user's, or turns do not alternate.
    """
    notes = []
    if any(message.role in ("system", "developer") for message in chat.messages):
        notes.append("system messages are not read: the model was not trained with any")
    if unused := [name for name in _UNUSED if (chat.model_extra or {}).get(name)]:
        notes.append(f"{', '.join(unused)} without effect: decoding is greedy, or a beam search, without sampling")
    turns = [message for message in chat.messages if message.role in ("user", "assistant")]
    if not turns or turns[-1].role != "user":
        raise Problem(400, "messages: the last one has to be of the user", param="messages")
    start = max((i for i, turn in enumerate(turns) if turn.role == "user" and turn.pictures), default=0)
    since = turns[start:]
    if any(turn.role != ("user", "assistant")[i % 2] for i, turn in enumerate(since)):
        raise Problem(400, "messages: user and assistant have to take turns, the user first", param="messages")
    return Question(
        pictures=since[0].pictures,
        instruction=since[-1].text.strip() or None,
        history=_pairs(since[:-1]),
        notes=tuple(notes),
    )


def _pairs(turns: Sequence[Message]) -> tuple[tuple[str, str], ...]:
    return tuple((asked.text, said.text) for asked, said in zip(turns[::2], turns[1::2], strict=True))
