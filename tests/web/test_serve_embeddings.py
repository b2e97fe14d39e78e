"""Embeddings over the API: the official client, texts beside pictures, and what is refused."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import openai
import pytest
from support.checkpoints import tiny_run
from support.served import address, asked, geotiff, pixels, png, served

import rsmoe
from rsmoe.evaluation.assistant import Assistant
from rsmoe.evaluation.request import Request
from rsmoe.web.app import App

PATH = "/v1/embeddings"
TEXTS = ["a harbour seen from above", "a forest", "two ships"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Assistant:
    return rsmoe.load(tiny_run(tmp_path_factory.mktemp("run"), "temporal.dropout=0.0"), device="cpu")


@pytest.fixture(scope="module")
def server(model: Assistant, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, App]]:
    folder = tmp_path_factory.mktemp("files")
    geotiff(folder / "a.tif", pixels(5))
    with served(model, max_pictures=3, files=str(folder)) as found:
        yield found


def test_the_official_client(server: tuple[str, App], model: Assistant) -> None:
    client = openai.OpenAI(base_url=f"{server[0]}/v1", api_key="none", max_retries=0)
    pictures = [png(pixels(seed)) for seed in (0, 1)]
    mixed = [TEXTS[0], address(pictures[0]), TEXTS[1], address(pictures[1])]
    whole = client.embeddings.create(model="mixture", input=mixed)  # as base64
    plain = client.embeddings.create(model="mixture", input=mixed, encoding_format="float")
    found = np.array([one.embedding for one in whole.data])
    np.testing.assert_allclose(found, [one.embedding for one in plain.data], atol=1e-7)
    assert [one.index for one in whole.data] == [0, 1, 2, 3] and whole.usage == plain.usage
    np.testing.assert_allclose(found[[0, 2]], model.embed_texts(TEXTS[:2]), atol=1e-5)
    np.testing.assert_allclose(found[[1, 3]], model.embed([pixels(0), pixels(1)]), atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    assert len({tuple(row) for row in found.round(4).tolist()}) == 4
    one = client.embeddings.create(model="mixture", input=TEXTS[1])
    np.testing.assert_allclose(one.data[0].embedding, found[2], atol=1e-5)
    assert one.usage.prompt_tokens == one.usage.total_tokens == 2
    with pytest.raises(openai.NotFoundError, match="no model 'text-embedding-3-small'"):
        client.embeddings.create(model="text-embedding-3-small", input="a")


def test_an_expert_embeds_alone(server: tuple[str, App], model: Assistant) -> None:
    bodies = [{"input": address(png(pixels())), "model": name} for name in ("mixture", "retrieval")]
    both, alone = (
        httpx.post(server[0] + PATH, json=body, timeout=60).json()["data"][0]["embedding"] for body in bodies
    )
    (expected,) = model.embed_requests(
        [Request(id="a", pictures=(pixels(),), instruction="Embed this image for retrieval.", expert="retrieval")]
    )
    np.testing.assert_allclose(alone, expected.vector, atol=1e-5)
    assert not np.allclose(both, alone)


def test_parts_of_messages_and_files(server: tuple[str, App], model: Assistant) -> None:
    parts = [
        {"type": "image_url", "image_url": {"url": "file:a.tif"}},
        {"type": "text", "text": TEXTS[2]},
        {"type": "image_url", "image_url": address(png(pixels(2)))},
    ]
    answer = httpx.post(server[0] + PATH, json={"input": parts}, timeout=60).json()
    found = [one["embedding"] for one in answer["data"]]
    np.testing.assert_allclose(found[0], model.embed(pixels(5)), atol=1e-5)
    np.testing.assert_allclose(found[1], model.embed_texts(TEXTS[2:])[0], atol=1e-5)
    np.testing.assert_allclose(found[2], model.embed(pixels(2)), atol=1e-5)
    raw = httpx.post(server[0] + PATH, json={"input": parts[1], "encoding_format": "base64"}, timeout=60).json()
    numbers = np.frombuffer(base64.b64decode(raw["data"][0]["embedding"]), "<f4")
    np.testing.assert_allclose(numbers, found[1], atol=1e-6)


def test_many_at_once_keep_their_own(model: Assistant) -> None:
    bodies: list[dict[str, Any]] = [
        {"input": [f"a {word}", address(png(pixels(i)))][:: 1 if i % 2 else -1]}
        for i, word in enumerate(("harbour", "forest", "ship", "road", "house", "field"))
    ]

    def post(url: str, body: dict[str, Any]) -> list[list[float]]:
        answer = httpx.post(url + PATH, json=body, timeout=60)
        return [one["embedding"] for one in answer.json()["data"]]

    crowd = asked(png(pixels()), n=12, temperature=1)
    with served(model, batch_size=12, window_ms=10_000) as (url, app), ThreadPoolExecutor(7) as pool:
        ready = threading.Barrier(7)
        words = pool.submit(lambda: [ready.wait(), httpx.post(f"{url}/v1/chat/completions", json=crowd, timeout=60)][1])
        together = list(pool.map(lambda body: [ready.wait(), post(url, body)][1], bodies))
        assert words.result().status_code == 200
    assert app.service.counters.batches == 2
    with served(model, window_ms=0) as (url, _):
        alone = [post(url, body) for body in bodies]
    np.testing.assert_allclose(together, alone, atol=1e-5)
    assert len({str(np.round(own, 4).tolist()) for own in alone}) == 6


@pytest.mark.parametrize(
    ("body", "status", "param", "message"),
    [
        ({}, 400, "input", "Field required"),
        ({"input": []}, 400, "input", "0 texts or pictures; send 1 to 256"),
        ({"input": ["a"] * 257}, 400, "input", "257 texts or pictures"),
        ({"input": ["a", "  "]}, 400, "input.1", "empty text"),
        ({"input": ["a", 5]}, 400, "input.1", "not token ids"),
        ({"input": [[1, 2]]}, 400, "input.0", "not token ids"),
        ({"input": "a" * 20_000}, 400, "input.0", "16000"),
        ({"input": {"type": "audio"}}, 400, "input.0.type", "image_url"),
        ({"input": {"type": "image_url"}}, 400, None, "expected data:image"),
        ({"input": "data:image/png;base64,!!"}, 400, None, "not valid base64"),
        ({"input": "data:image/png;base64,"}, 400, None, "empty"),
        ({"input": [address(png(pixels()))] * 4}, 400, None, "4 pictures: this server takes 3"),
        ({"input": {"type": "image_url", "image_url": "http://127.0.0.1/a.png"}}, 400, None, "not read"),
        ({"input": {"type": "image_url", "image_url": "file:../a.tif"}}, 404, None, "no file"),
        ({"input": "a", "model": "nosuch"}, 404, "model", "no model 'nosuch'; there are mixture"),
        ({"input": "a", "encoding_format": "int8"}, 400, "encoding_format", "base64"),
        ({"input": "a", "dimensions": 4}, 400, "dimensions", "this model has 8"),
        ({"input": "[RET]"}, 400, None, "empty: give at least one word"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_line(
    server: tuple[str, App], body: dict[str, Any], status: int, param: str | None, message: str
) -> None:
    answer = httpx.post(server[0] + PATH, json=body, timeout=60)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (status, param), error
    assert message in error["message"] and "\n" not in error["message"] and "rsmoe-serve-" not in error["message"]


def test_a_model_without_a_retrieval_expert(tmp_path: Path) -> None:
    other = rsmoe.load(tiny_run(tmp_path, "temporal.dropout=0.0", experts="expert=[theme,vqa]", steps=1), device="cpu")
    with served(other) as (url, _):
        answer = httpx.post(url + PATH, json={"input": "a"}, timeout=60)
        assert answer.status_code == 400
        assert answer.json()["error"]["message"].startswith(
            "this model has no retrieval expert: serve one trained with"
        )
        assert httpx.get(f"{url}/v1/models").json()["rsmoe"]["embeds"] is False


def test_bodies_that_are_none(server: tuple[str, App]) -> None:
    for content in (b"", b"{", b"[1]", b"\xff", json.dumps("a").encode()):
        answer = httpx.post(server[0] + PATH, content=content, timeout=60)
        assert answer.status_code == 400 and answer.json()["error"]["type"] == "invalid_request_error"
    assert httpx.get(server[0] + PATH).status_code == 405
    assert httpx.get(f"{server[0]}/v1/models").json()["rsmoe"]["embeds"] is True
