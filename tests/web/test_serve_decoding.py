"""Sampling, stop words, lengths and several choices over the API, by the official client and in shared passes."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import openai
import pytest
from support.checkpoints import tiny_run
from support.served import asked, pixels, png, served

import rsmoe
from rsmoe.evaluation.assistant import Assistant
from rsmoe.web.app import App

CHAT = "/v1/chat/completions"
WORDS = "how many ships are there ?"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Assistant:
    return rsmoe.load(tiny_run(tmp_path_factory.mktemp("run"), "temporal.dropout=0.0"), device="cpu")


@pytest.fixture(scope="module")
def server(model: Assistant) -> Iterator[tuple[str, App]]:
    with served(model) as found:
        yield found


@pytest.fixture(scope="module")
def client(server: tuple[str, App]) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server[0]}/v1", api_key="none", max_retries=0)


def messages(seed: int = 0) -> Any:
    return asked(png(pixels(seed)))["messages"]


def streamed(lines: Iterator[str]) -> dict[int, tuple[str, str]]:
    """Index of each choice -> its text and its finish reason."""
    text: dict[int, str] = {}
    finish: dict[int, str] = {}
    for line in lines:
        if not line.startswith("data: {"):
            continue
        for choice in json.loads(line[6:])["choices"]:
            index = choice["index"]
            assert index not in finish, "a piece after the end of its choice"
            text[index] = text.get(index, "") + choice["delta"].get("content", "")
            if choice["finish_reason"]:
                finish[index] = choice["finish_reason"]
    return {index: (text[index], finish[index]) for index in sorted(text)}


def test_a_seed_gives_one_answer_and_another_seed_another(client: openai.OpenAI, model: Assistant) -> None:
    def ask(**more: Any) -> Any:
        return client.chat.completions.create(model="mixture", messages=messages(), **more).choices[0].message.content

    options: dict[str, Any] = {"temperature": 1.3, "top_p": 0.95}
    texts = [ask(seed=seed, **options) for seed in (1, 2, 3, 1)]
    assert texts[0] == texts[3] and len(set(texts)) == 3
    assert texts[0] == model.ask(pixels(), WORDS, max_new=8, seed=1, **options).text
    assert ask(seed=5) == ask(temperature=0, top_p=0.5) == model.ask(pixels(), WORDS, beams=1, max_new=8).text
    assert ask(top_p=0.9, seed=5) == ask(
        temperature=1, top_p=0.9, seed=5
    )  # OpenAI's temperature, where samples are asked
    assert len({ask(temperature=1.3) for _ in range(4)}) > 1


def test_choices_are_those_of_the_seeds_that_follow(client: openai.OpenAI, model: Assistant) -> None:
    options: dict[str, Any] = {"model": "mixture", "messages": messages(1), "temperature": 1.5}
    with served(model, batch_size=4, window_ms=10_000) as (url, app):
        other = openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)
        whole = other.chat.completions.create(n=4, seed=2**63 - 2, **options)
    assert app.service.counters.batches == 1
    alone = [
        client.chat.completions.create(seed=seed, **options) for seed in (2**63 - 2, 2**63 - 1, -(2**63), 1 - 2**63)
    ]
    assert [c.index for c in whole.choices] == [0, 1, 2, 3]
    assert [c.message.content for c in whole.choices] == [own.choices[0].message.content for own in alone]
    assert len({c.message.content for c in whole.choices}) == 4
    assert whole.usage is not None and alone[0].usage is not None
    assert whole.usage.prompt_tokens == alone[0].usage.prompt_tokens > 6
    used = [own.usage.completion_tokens for own in alone if own.usage is not None]
    assert whole.usage.completion_tokens == sum(used) == whole.usage.total_tokens - whole.usage.prompt_tokens
    extra = [(c.model_extra or {}).get("rsmoe") for c in whole.choices]
    routing = whole.model_extra["rsmoe"]["routing"]
    assert extra[0] is None and all(own["routing"] == pytest.approx(routing, abs=1e-5) for own in extra[1:])


def test_choices_of_a_pass_are_one_look_at_the_picture(model: Assistant) -> None:
    seen: list[int] = []
    handle = model.run.model.vision.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
    try:
        with served(model, batch_size=3, window_ms=10_000) as (url, _):
            answer = httpx.post(url + CHAT, json={"messages": messages(), "n": 3}, timeout=60).json()
    finally:
        handle.remove()
    assert seen == [1] and len(answer["choices"]) == 3


def test_choices_stream_side_by_side(client: openai.OpenAI, server: tuple[str, App]) -> None:
    body = {"messages": messages(2), "temperature": 1.5, "seed": 9, "n": 3}
    whole = httpx.post(server[0] + CHAT, json=body, timeout=60).json()
    expected = {c["index"]: (c["message"]["content"], c["finish_reason"]) for c in whole["choices"]}
    answer = httpx.post(server[0] + CHAT, json=body | {"stream": True}, timeout=60)
    assert streamed(iter(answer.text.split("\n"))) == expected and answer.text.endswith("data: [DONE]\n\n")
    events = [json.loads(line[6:]) for line in answer.text.split("\n") if line.startswith("data: {")]
    ended = [e["choices"][0]["index"] for e in events if e["choices"][0]["finish_reason"]]
    first = {i: next(n for n, e in enumerate(events) if e["choices"][0]["delta"].get("content") and
                     e["choices"][0]["index"] == i) for i in range(3)}  # fmt: skip
    last = next(n for n, e in enumerate(events) if e["choices"][0]["finish_reason"])
    assert sorted(ended) == [0, 1, 2] and max(first.values()) < last  # none waits for another's end
    pieces = list(
        client.chat.completions.create(
            model="mixture", stream=True, stream_options={"include_usage": True},
            **{key: value for key, value in body.items()},  # type: ignore[arg-type]
        )
    )  # fmt: skip
    assert pieces[-1].usage is not None and pieces[-1].usage.model_dump(exclude_none=True) == whole["usage"]


@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("stream", [False, True])
def test_stop_words_end_an_answer_and_are_never_shown(server: tuple[str, App], stream: bool, beams: int) -> None:
    def ask(**more: Any) -> tuple[str, str]:
        body = {"messages": messages(3), "stream": stream, "rsmoe": {"beams": beams}, **more}
        answer = httpx.post(server[0] + CHAT, json=body, timeout=60)
        if stream:
            return streamed(iter(answer.text.split("\n")))[0]
        choice = answer.json()["choices"][0]
        return choice["message"]["content"], choice["finish_reason"]

    text, reason = ask(max_tokens=6)
    first, second, third = text.split()[:3]
    if beams == 1:  # a beam search that may stop finds another text
        assert reason == "length"
        assert ask(stop=f"{second[-1]} {third[:2]}", max_tokens=6) == (f"{first} {second[:-1]}".rstrip(), "stop")
        assert ask(stop=["nosuch", f" {second}"], max_tokens=6) == (first, "stop")
        assert ask(stop=[f"{second} nosuch"], max_tokens=6) == (text, "length")  # nothing stays held back
        assert ask(stop=first) == ("", "stop")
    else:
        ended, _ = ask(stop=[first[-1]], max_tokens=6)
        assert first[-1] not in ended
    assert ask(stop=[], max_tokens=6) == ask(stop=None, max_tokens=6) == (text, reason)


def test_the_longest_length_and_its_reason(client: openai.OpenAI) -> None:
    for key in ("max_tokens", "max_completion_tokens"):
        short = client.chat.completions.create(model="mixture", messages=messages(), **{key: 3})  # type: ignore[call-overload]
        assert (short.choices[0].finish_reason, short.usage.completion_tokens) == ("length", 3)
    long = client.chat.completions.create(model="mixture", messages=messages(), max_tokens=10**6)
    assert long.usage is not None and long.usage.completion_tokens <= 8
    assert "at most 8 tokens" in long.model_extra["rsmoe"]["notes"][0]  # type: ignore[index]


def test_an_answer_that_ends_by_itself(
    client: openai.OpenAI, model: Assistant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end token, one step before the longest length: it is no token of the answer."""
    whole = client.chat.completions.create(model="mixture", messages=messages(), max_tokens=4)
    real = model.run.model.generate

    def generate(*given: Any, **options: Any) -> list[list[int]]:
        return [ids[:3] for ids in real(*given, **options)]

    monkeypatch.setattr(model.run.model, "generate", generate)
    ended = client.chat.completions.create(model="mixture", messages=messages(), max_tokens=4)
    assert whole.usage is not None and ended.usage is not None
    assert (whole.choices[0].finish_reason, whole.usage.completion_tokens) == ("length", 4)
    assert (ended.choices[0].finish_reason, ended.usage.completion_tokens) == ("stop", 3)


def test_requests_of_every_kind_share_a_pass_and_keep_their_answers(model: Assistant) -> None:
    ways: list[dict[str, Any]] = [
        {}, {"temperature": 1.5, "seed": 1}, {"temperature": 0.7, "top_p": 0.8, "seed": 1}, {"max_tokens": 2},
        {"stop": ["a"]}, {"temperature": 2, "seed": 3, "stop": ["e", "o"]}, {"stream": True, "stop": "s"},
        {"stream": True, "temperature": 1, "seed": 4}, {"temperature": 1.5, "seed": 2, "n": 3},
        {"top_p": 0.6, "seed": 9, "max_tokens": 5},
    ]  # fmt: skip
    bodies = [asked(png(pixels(i % 4)), **way) for i, way in enumerate(ways)]

    def post(url: str, body: dict[str, Any]) -> list[tuple[str, str]]:
        answer = httpx.post(url + CHAT, json=body, timeout=60)
        if body.get("stream"):
            return list(streamed(iter(answer.text.split("\n"))).values())
        return [(c["message"]["content"], c["finish_reason"]) for c in answer.json()["choices"]]

    jobs = sum(way.get("n", 1) for way in ways)
    with served(model, batch_size=jobs, window_ms=10_000) as (url, app), ThreadPoolExecutor(len(bodies)) as pool:
        ready = threading.Barrier(len(bodies))
        together = list(pool.map(lambda body: [ready.wait(), post(url, body)][1], bodies))
    assert app.service.counters.batches == 1  # the server has ended: nothing is counted any more
    with served(model, batch_size=3, window_ms=0) as (url, app):
        alone = [post(url, body) for body in bodies]
    assert app.service.counters.batches >= len(bodies)
    assert together == alone and len({str(answers) for answers in together}) == len(bodies)
    assert [len(answers) for answers in together] == [way.get("n", 1) for way in ways]


def test_numbers_that_are_none(server: tuple[str, App]) -> None:
    body = json.dumps(asked(png(pixels())))[:-1]
    for more in ("NaN", "Infinity", "-Infinity", "1" * 5000, "1e999"):
        answer = httpx.post(server[0] + CHAT, content=f'{body}, "temperature": {more}}}', timeout=60)
        assert answer.status_code == 400 and "\n" not in answer.json()["error"]["message"]
