"""Experts at another server: vLLM with the language model and its LoRA adapters, asked with prompt embeddings."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import httpx
import torch
from torch import Tensor
from torch.nn import functional as F

from rsmoe.data.batch import Batch
from rsmoe.data.text_codec import TextCodec
from rsmoe.errors import UserError, shown
from rsmoe.experts import Bank
from rsmoe.experts.bank import ExpertBank
from rsmoe.generation.decoding import Decoding, OnToken
from rsmoe.generation.mixture import Mixture
from rsmoe.router.routing import Routing, Rows

if TYPE_CHECKING:
    from rsmoe.model import RSMoE
    from rsmoe.perception import Perception


class UpstreamError(Exception):
    """The other server cannot be reached, or does not answer as it should."""


class Upstream(Mixture):
    """The expert of the highest weight writes the answer, at an OpenAI-compatible server that takes prompt embeddings.

    A language model behind an API of text cannot be given what an expert reads: soft prompts and visual tokens have no
    words. vLLM's completions take embeddings (``--enable-prompt-embeds``): the whole prompt, (S, D), is made here and
    sent with the expert's name as the model; token ids come back. Probabilities of several experts are not mixed, which
    would take a request a token. Masks and embeddings are made here, from one pass over the finished answer.

    Args:
        url: ending in /v1.
        key: of the other server; None sends none.
        seconds: that it may be silent.
        codec, names, bank: of the model, see `Mixture`.

    Raises:
        UserError: experts with a language model of their own each; the server cannot be reached, or lacks an expert.
    """

    def __init__(
        self, *, url: str, key: str | None, seconds: float, codec: TextCodec, names: Sequence[str], bank: Bank
    ) -> None:
        super().__init__(codec=codec, names=names, bank=bank)
        if not isinstance(bank, ExpertBank):
            raise UserError("upstream= needs experts on one shared language model (bank=shared)")
        self.names, self.url, self.dtype = tuple(names), url.rstrip("/"), bank.base.get_input_embeddings().weight.dtype
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        self.client = httpx.Client(headers=headers, timeout=seconds, limits=httpx.Limits(max_connections=None))
        try:
            listed = self.client.get(f"{self.url}/models").raise_for_status().json()
            known = [str(model["id"]) for model in listed["data"]]
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"upstream={url}: no server of OpenAI's API answers there ({shown(str(error))}). Start it with the "
                "command in the README.md that rsmoe export writes, and give upstream=http://127.0.0.1:8001/v1"
            ) from error
        if missing := [name for name in self.names if name not in known]:
            raise UserError(
                f"upstream={url} has no model {missing[0]!r}, only {', '.join(known)}: start it with --lora-modules "
                f"{' '.join(f'{name}=<folder>/{name}' for name in missing)}"
            )

    def rows(self, routing: Routing) -> Rows:
        """One row a request: its first expert."""
        best = F.one_hot(routing.weights.argmax(-1), routing.weights.shape[1]).bool()
        return Routing.of(routing.logits, best).rows()

    @torch.no_grad()
    def generate(
        self,
        model: RSMoE,
        batch: Batch,
        perception: Perception,
        *,
        end_id: int,
        beams: int,
        each: Sequence[Decoding],
        on_token: OnToken | None = None,
    ) -> list[list[int]]:
        """B answers as token ids, all asked for at once.

        Raises:
            UserError: several beams.
            UpstreamError: see there.
        """
        if beams > 1:
            raise UserError(f"beams={beams}: an upstream server does not search; give beams=1")
        rows = self.rows(perception.routing)
        embeds, mask, _ = model.start(batch, perception.prefix, rows)
        bodies: list[dict[str, Any]] = [{}] * len(batch)
        for place, expert, row, kept in zip(rows.sample.tolist(), rows.expert.tolist(), embeds, mask, strict=True):
            one = each[place]
            bodies[place] = {
                "model": self.names[expert], "prompt_embeds": _encoded(row[kept].to(self.dtype)), "stream": True,
                "return_token_ids": True, "stop_token_ids": [end_id], "ignore_eos": True,
                "max_tokens": one.max_new, "temperature": one.temperature, "top_p": one.top_p,
            } | ({} if one.seed is None else {"seed": one.seed})  # fmt: skip
        written: list[list[int]] = [[] for _ in bodies]
        heard: SimpleQueue[tuple[int, int] | None] = SimpleQueue()

        def ask(place: int) -> None:
            stop = each[place].stop
            try:
                for token in self._tokens(bodies[place]):
                    if token == end_id:
                        continue  # the last one
                    written[place].append(token)
                    heard.put((place, token))
                    if stop is not None and stop.found(written[place]):
                        break  # which closes the connection, and so ends the request there
            finally:
                heard.put(None)

        with ThreadPoolExecutor(max(1, len(bodies))) as pool:
            asked = [pool.submit(ask, place) for place in range(len(bodies))]
            left = len(asked)
            while left:
                if (news := heard.get()) is None:
                    left -= 1
                elif on_token is not None:
                    on_token([news[1] if place == news[0] else None for place in range(len(bodies))])
            for one_asked in asked:
                one_asked.result()
        return written

    def _tokens(self, body: dict[str, Any]) -> Iterator[int]:
        """Ids as they come, the end token perhaps among them."""
        try:
            with self.client.stream("POST", f"{self.url}/completions", json=body) as response:
                if response.status_code != 200:
                    said = response.read().decode(errors="replace")
                    raise UpstreamError(f"status {response.status_code} for {body['model']}: {shown(said)}")
                for line in response.iter_lines():
                    if line == "data: [DONE]":
                        return
                    if line.startswith("data: "):
                        yield from _ids(json.loads(line[6:]))
            raise UpstreamError("the answer broke off")
        except (httpx.HTTPError, ValueError) as error:
            raise UpstreamError(f"{type(error).__name__}: {error}") from error


def _ids(event: Any) -> Iterator[int]:
    """New ids of a server-sent event."""
    choices = event.get("choices") if isinstance(event, dict) else None
    if not isinstance(choices, list):
        raise UpstreamError(f"no answer, but {shown(event)}")
    for choice in choices:
        if not isinstance(choice.get("token_ids"), list):
            raise UpstreamError("an answer without token_ids: the server does not know return_token_ids")
        yield from map(int, choice["token_ids"])


def _encoded(embeds: Tensor) -> str:
    """As vLLM reads it: ``torch.save`` in base64."""
    file = io.BytesIO()
    torch.save(embeds.cpu().contiguous().clone(), file)
    return base64.b64encode(file.getvalue()).decode()
