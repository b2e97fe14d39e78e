"""The body of ``/v1/chat/completions`` in OpenAI's form, and what it asks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le, Len
from pydantic import BaseModel, BeforeValidator, ConfigDict, Strict, ValidationError

from rsmoe.data.text_codec import TextCodec
from rsmoe.generation.decoding import Decoding
from rsmoe.generation.stop_words import StopWords
from rsmoe.web.problem import Problem

_UNUSED = ("presence_penalty", "frequency_penalty")
_REFUSED = ("tools", "tool_choice", "functions", "logprobs", "top_logprobs", "response_format", "logit_bias")
_SEEDS = 2**64
Text = Annotated[str, Len(0, 16_000)]
Whole = Annotated[int, Strict()]
Real = Annotated[float, Strict()]


def _listed(given: Any) -> Any:
    return [given] if isinstance(given, str) else given


class ImageUrl(BaseModel):
    """Where a picture is."""

    url: str


class Part(BaseModel):
    """A piece of a message: text, or a picture."""

    type: Literal["text", "image_url"]
    text: Text | None = None
    image_url: ImageUrl | str | None = None

    @property
    def address(self) -> str:
        """Of its picture; "" where it has none."""
        url = self.image_url
        return "" if url is None else url if isinstance(url, str) else url.url


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
        return [part.address for part in self.content if part.type == "image_url"]


class StreamOptions(BaseModel):
    """Of ``stream``."""

    include_usage: bool = False


class Extra(BaseModel):
    """What OpenAI's form has no place for."""

    model_config = ConfigDict(extra="forbid")

    beams: Annotated[int, Ge(1), Le(16)] | None = None
    geojson: bool = False
    """Also masks, maps and boxes as GeoJSON."""
    geotiff: bool = False
    """Also masks and maps as GeoTIFF, beside the PNG of each layer."""
    graticule: bool = False
    """Also where meridians and parallels lie in the picture."""
    prompts: bool = False
    """Also the router's prompt for each chosen expert, in words."""
    pictures: bool = False
    """Also the pictures as JPEG: what a browser cannot show of a GeoTIFF."""


class ChatRequest(BaseModel):
    """A request; fields of OpenAI's form that are not named here are not read."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False)

    model: str = "mixture"
    messages: Annotated[list[Message], Len(1, 200)]
    n: Annotated[Whole, Ge(1), Le(128)] | None = 1
    temperature: Annotated[Real, Ge(0), Le(2)] | None = None
    top_p: Annotated[Real, Ge(0), Le(1)] | None = None
    seed: Annotated[Whole, Ge(-_SEEDS // 2), Le(_SEEDS // 2 - 1)] | None = None
    stop: Annotated[list[Annotated[str, Len(1, 200)]], Len(0, 4), BeforeValidator(_listed)] | None = None
    max_tokens: Annotated[Whole, Gt(0)] | None = None
    max_completion_tokens: Annotated[Whole, Gt(0)] | None = None
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    rsmoe: Extra = Extra()

    @property
    def effective_temperature(self) -> float:
        """The temperature. Where none is given it is OpenAI's 1 if ``top_p`` or ``n`` ask for samples, else 0."""
        if self.temperature is not None:
            return self.temperature
        return 1.0 if (self.n or 1) > 1 or (self.top_p is not None and self.top_p < 1) else 0.0

    def decodings(self, *, max_new: int, codec: TextCodec) -> list[Decoding]:
        """How each of the n choices is decoded; choice i has the seed + i, so that it can be had alone.

        Raises:
            Problem: several choices that would be the same.
        """
        if (self.n or 1) > 1 and self.effective_temperature == 0:
            raise Problem(
                400, f"n={self.n}: at temperature 0 all choices are the same; give a temperature above 0, or n=1",
                param="n",
            )  # fmt: skip
        common = Decoding(
            max_new=max_new, temperature=self.effective_temperature, top_p=1.0 if self.top_p is None else self.top_p,
            stop=StopWords(self.stop, codec=codec) if self.stop else None,
        )  # fmt: skip
        if self.seed is None:
            return [common] * (self.n or 1)
        seeds = ((self.seed + i + _SEEDS // 2) % _SEEDS - _SEEDS // 2 for i in range(self.n or 1))
        return [replace(common, seed=seed) for seed in seeds]


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
        raise Problem.of(error) from None
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
        notes.append(f"{', '.join(unused)} without effect: words that were said before are not made less probable")
    if chat.effective_temperature == 0 and chat.top_p is not None and chat.top_p < 1:
        notes.append("top_p without effect: at temperature 0 nothing is drawn")
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
        history=tuple((asked.text, said.text) for asked, said in zip(since[:-1:2], since[1::2], strict=True)),
        notes=tuple(notes),
    )
