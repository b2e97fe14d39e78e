"""Experts at another server: what it is asked, what comes back, and what is said when it fails."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.checkpoints import CALM, tiny_run
from support.served import asked, pixels, png, served
from support.vllm_stand_in import StandIn, standing_in

import rsmoe
from rsmoe.commands.export import cli as export
from rsmoe.errors import UserError
from rsmoe.evaluation.assistant import Assistant

CHAT = "/v1/chat/completions"
WORDS = "how many ships are there ?"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported model."""
    home = tmp_path_factory.mktemp("upstream")
    run = tiny_run(home / "run", *CALM, steps=4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["export", f"checkpoint={run}", f"out={home / 'out'}"])
        export()
    return home / "out"


@pytest.fixture(scope="module")
def model(folder: Path) -> Assistant:
    return rsmoe.load(folder, device="cpu")


@pytest.fixture(scope="module")
def upstream(folder: Path, model: Assistant) -> Iterator[tuple[str, StandIn]]:
    with standing_in(folder, model.experts, key="s3cret") as found:
        yield found


@pytest.fixture(scope="module")
def url(folder: Path, upstream: tuple[str, StandIn]) -> Iterator[str]:
    proxy = rsmoe.load(folder, device="cpu")
    with served(proxy, upstream=upstream[0], upstream_key="s3cret", batch_size=4) as (found, _):
        yield found


@pytest.fixture(autouse=True)
def well(upstream: tuple[str, StandIn]) -> Iterator[None]:
    upstream[1].bodies.clear()
    yield
    upstream[1].fault = ""


def test_the_first_expert_writes_and_the_router_is_shown(
    url: str, upstream: tuple[str, StandIn], model: Assistant
) -> None:
    said = httpx.post(url + CHAT, json=asked(png(pixels())), timeout=60).json()
    routing = model.routing(pixels(), WORDS)
    first = max(routing, key=lambda name: routing[name])
    assert said["rsmoe"]["routing"] == pytest.approx(routing, abs=1e-5)
    (body,) = upstream[1].bodies
    assert body["model"] == first and body["max_tokens"] == 8 and body["temperature"] == 0
    alone = model.ask_each_expert(pixels(), WORDS, max_new=8)
    assert said["choices"][0]["message"]["content"] == alone[first] != ""
    assert any("highest weight alone" in note for note in said["rsmoe"]["notes"])


def test_every_expert_says_what_it_says_here(url: str, model: Assistant) -> None:
    """Base, adapters and prompt embeddings that left are those of the model."""
    here = model.ask_each_expert(pixels(3), WORDS, max_new=8)
    with ThreadPoolExecutor(8) as pool:  # at the same time, in passes of four
        bodies = [asked(png(pixels(3)), model=name) for name in model.experts]
        there = list(pool.map(lambda body: httpx.post(url + CHAT, json=body, timeout=60).json(), bodies))
    assert {n: a["choices"][0]["message"]["content"] for n, a in zip(model.experts, there, strict=True)} == here
    assert len(set(here.values())) > 1


def test_tokens_stream_and_settings_are_handed_on(url: str, upstream: tuple[str, StandIn]) -> None:
    body = asked(png(pixels()), stream=True, temperature=1.5, top_p=0.9, seed=7, max_tokens=5)
    with httpx.stream("POST", url + CHAT, json=body, timeout=60) as response:
        events = [json.loads(line[6:]) for line in response.iter_lines() if line.startswith("data: {")]
    sent = upstream[1].bodies[0]
    assert {key: sent[key] for key in ("temperature", "top_p", "seed", "max_tokens")} == {
        "temperature": 1.5, "top_p": 0.9, "seed": 7, "max_tokens": 5,
    }  # fmt: skip
    pieces = [event["choices"][0]["delta"].get("content", "") for event in events]
    assert len([piece for piece in pieces if piece]) > 2
    whole = httpx.post(url + CHAT, json=body | {"stream": False}, timeout=60).json()
    assert "".join(pieces) == whole["choices"][0]["message"]["content"]
    word = whole["choices"][0]["message"]["content"].split()[2]
    cut = httpx.post(url + CHAT, json=body | {"stream": False, "stop": word}, timeout=60).json()
    assert word not in cut["choices"][0]["message"]["content"] and cut["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize("fault", ["status", "event", "cut", "no ids"])
def test_a_server_that_fails_is_status_502(url: str, upstream: tuple[str, StandIn], fault: str) -> None:
    upstream[1].fault = fault
    answer = httpx.post(url + CHAT, json=asked(png(pixels())), timeout=60)
    assert answer.status_code == 502 and answer.json()["error"]["code"] == "upstream"
    upstream[1].fault = ""
    assert httpx.post(url + CHAT, json=asked(png(pixels())), timeout=60).status_code == 200


def test_what_cannot_be_done_upstream_is_said(
    url: str, upstream: tuple[str, StandIn], folder: Path, model: Assistant
) -> None:
    beams = httpx.post(url + CHAT, json=asked(png(pixels()), rsmoe={"beams": 3}), timeout=60)
    assert beams.status_code == 400 and "does not search" in beams.json()["error"]["message"]

    def refused(**changed: Any) -> str:
        with pytest.raises(UserError) as error, served(model, **changed):
            pass
        return str(error.value)

    assert "beams=2" in refused(upstream=upstream[0], beams=2)
    assert "no server of OpenAI's API" in refused(upstream="http://127.0.0.1:9/v1")
    assert "no server of OpenAI's API" in refused(upstream=upstream[0], upstream_key="wrong")
    with standing_in(folder, model.experts[:1]) as (other, _):
        message = refused(upstream=other)
    assert f"no model '{model.experts[1]}'" in message and f"{model.experts[1]}=<folder>" in message
    assert "give upstream=http://" in refused(upstream="127.0.0.1:8001") and "//a b" in refused(upstream="http://a b")
