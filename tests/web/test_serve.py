"""The API over loopback: plain httpx, and the official client of OpenAI."""

from __future__ import annotations

import base64
import io
import json
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import openai
import pytest
from PIL import Image
from rasterio import warp
from support.checkpoints import tiny_run
from support.served import address, asked, geotiff, pixels, png, served

import rsmoe
from rsmoe.evaluation.assistant import Assistant
from rsmoe.metrics.prediction import Prediction
from rsmoe.web.app import App

CHAT = "/v1/chat/completions"
WORDS = "how many ships are there ?"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Assistant:
    return rsmoe.load(tiny_run(tmp_path_factory.mktemp("run"), "temporal.dropout=0.0", "maps=[change]"), device="cpu")


@pytest.fixture(scope="module")
def server(model: Assistant) -> Iterator[tuple[str, App]]:
    with served(model) as found:
        yield found


@pytest.fixture
def web(server: tuple[str, App]) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server[0], timeout=60) as client:
        yield client


def test_an_answer_is_that_of_the_model(web: httpx.Client, model: Assistant) -> None:
    said = web.post(CHAT, json=asked(png(pixels()))).json()
    reply = model.ask(pixels(), WORDS, beams=1, max_new=8)
    assert said["choices"][0]["message"] == {"role": "assistant", "content": reply.text, "refusal": None}
    assert said["rsmoe"]["routing"] == pytest.approx(reply.routing, abs=1e-5)
    assert said["rsmoe"]["size_px"] == [52, 40] and said["object"] == "chat.completion"
    used = said["usage"]
    assert used["total_tokens"] == used["prompt_tokens"] + used["completion_tokens"] > 5
    assert (said["choices"][0]["finish_reason"] == "length") == (used["completion_tokens"] == 8)
    short = web.post(CHAT, json=asked(png(pixels()), max_tokens=1)).json()
    assert short["usage"]["completion_tokens"] == 1 and short["choices"][0]["finish_reason"] == "length"
    beams = web.post(CHAT, json=asked(png(pixels()), rsmoe={"beams": 3})).json()
    assert beams["choices"][0]["message"]["content"] == model.ask(pixels(), WORDS, beams=3, max_new=8).text


def test_the_official_client(server: tuple[str, App], model: Assistant) -> None:
    client = openai.OpenAI(base_url=f"{server[0]}/v1", api_key="none", max_retries=0)
    assert [m.id for m in client.models.list()] == ["mixture", *model.experts]
    messages: Any = asked(png(pixels()))["messages"]
    for expert in ("mixture", model.experts[-1]):
        whole = client.chat.completions.create(model=expert, messages=messages)
        pieces = list(
            client.chat.completions.create(
                model=expert, messages=messages, stream=True, stream_options={"include_usage": True}
            )
        )
        text = "".join(p.choices[0].delta.content or "" for p in pieces if p.choices)
        assert text == whole.choices[0].message.content and pieces[-1].usage == whole.usage
        assert pieces[-2].choices[0].finish_reason == whole.choices[0].finish_reason
        routing = pieces[-2].model_extra["rsmoe"]["routing"]
        assert routing == whole.model_extra["rsmoe"]["routing"]
        if expert != "mixture":
            assert routing == {name: float(name == expert) for name in model.experts}
    with pytest.raises(openai.NotFoundError, match="no model 'gpt-4'; there are mixture"):
        client.chat.completions.create(model="gpt-4", messages=messages)
    with pytest.raises(openai.BadRequestError, match="no picture"):
        client.chat.completions.create(model="mixture", messages=[{"role": "user", "content": "hello"}])


def test_tokens_stream_one_by_one(web: httpx.Client) -> None:
    body = asked(png(pixels(3)), stream=True, max_tokens=5)
    with web.stream("POST", CHAT, json=body) as response:
        lines = [line[6:] for line in response.iter_lines() if line]
    assert response.headers["content-type"].startswith("text/event-stream") and lines[-1] == "[DONE]"
    pieces = [json.loads(line)["choices"][0]["delta"].get("content", "") for line in lines[:-1]]
    whole = web.post(CHAT, json=asked(png(pixels(3)), max_tokens=5)).json()
    assert "".join(pieces) == whole["choices"][0]["message"]["content"]
    said = len([p for p in pieces if p])
    assert said == len("".join(pieces).split()) > 1  # a token of padding has no text
    assert said <= whole["usage"]["completion_tokens"] <= 5


def test_turns_are_the_history_of_the_last_pictures(
    web: httpx.Client, model: Assistant, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    answer = model.answer
    monkeypatch.setattr(model, "answer", lambda given, **more: [seen.extend(given), answer(given, **more)][1])
    old, new = (asked(png(pixels(seed)), words=words)["messages"][0] for seed, words in ((1, "old"), (2, "first ?")))
    turns = [
        {"role": "system", "content": "be brief"}, old, {"role": "assistant", "content": "about the old one"}, new,
        {"role": "assistant", "content": "yes"}, {"role": "user", "content": "and now ?"},
    ]  # fmt: skip
    said = web.post(CHAT, json={"messages": turns, "presence_penalty": 0.7}).json()
    assert [(r.instruction, r.history, len(r.pictures)) for r in seen] == [("and now ?", (("first ?", "yes"),), 1)]
    assert [note.split()[0] for note in said["rsmoe"]["notes"]] == ["system", "presence_penalty"]


def test_two_dates_give_a_layer_and_geojson(web: httpx.Client, model: Assistant, tmp_path: Path) -> None:
    before, after = (geotiff(tmp_path / f"{i}.tif", pixels(i)) for i in (0, 1))
    said = web.post(CHAT, json=asked(before, after, rsmoe={"geojson": True, "pictures": True})).json()["rsmoe"]
    assert said["crs"] == "EPSG:32632" and len(said["pictures"]) == 2
    assert all(picture.startswith("data:image/jpeg;base64,") for picture in said["pictures"])
    reply = model.ask((pixels(0), pixels(1)), WORDS, beams=1, max_new=8)
    (layer,) = [layer for layer in said["layers"] if layer["name"] == "change"]
    drawn = np.asarray(Image.open(io.BytesIO(base64.b64decode(layer["png"].partition(",")[2]))))
    np.testing.assert_array_equal(drawn, reply.change_map)
    assert layer["classes"][0] == "no change" and said["changed"] == pytest.approx((drawn > 0).mean())
    found = sum(f["properties"]["pixels"] for f in said["geojson"]["features"] if f["properties"]["class"])
    assert found >= (drawn > 0).sum() > 0
    assert said["geojson"]["type"] == "FeatureCollection"


def test_geotiffs_in_geojson_out(web: httpx.Client, model: Assistant, tmp_path: Path) -> None:
    before, after = (geotiff(tmp_path / f"{i}.tif", pixels(i)) for i in (0, 1))
    answer = web.post("/change", files={"before": before, "after": after})
    found = answer.json()
    assert answer.headers["content-type"] == "application/geo+json"
    share = sum(f["properties"]["pixels"] for f in found["features"]) / (40 * 52)
    assert found["rsmoe"]["changed"] == pytest.approx(share) and share > 0 and len(found["rsmoe"]["cells"]) == 9
    ring = np.array(found["features"][0]["geometry"]["coordinates"][0])
    assert np.all(ring > [8.99, 45.1]) and np.all(ring < [9.01, 45.16])
    missing = web.post("/segment", files={"picture": before}, data={"instruction": "the ship"})
    assert missing.status_code == 400 and "no file 'image'" in missing.json()["error"]["message"]
    empty = web.post("/segment", files={"image": before})
    assert empty.status_code == 400 and empty.json()["error"]["param"] == "instruction"


def test_a_mask_lies_where_the_picture_lies(
    web: httpx.Client, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, model: Assistant
) -> None:
    from rsmoe.evaluation import responder

    mask = np.zeros((40, 52), bool)
    mask[3:9, 10:20] = True
    said = Prediction(id="a", task="caption", text="\x1b[31m[SEG]", weights=(1.0,) * len(model.experts), mask=mask)
    monkeypatch.setattr(responder, "answer_batch", lambda model, codec, batch, **_: [said] * len(batch))
    content = geotiff(tmp_path / "a.tif", pixels())
    found = web.post("/segment", files={"image": content}, data={"instruction": "the ship"}).json()
    (feature,) = found["features"]
    assert feature["properties"]["pixels"] == 60
    assert feature["properties"]["area_m2"] == pytest.approx(6000, rel=0.01)  # on the ellipsoid
    ring = np.array(feature["geometry"]["coordinates"][0])
    assert np.all(ring > [9.0, 45.1]) and np.all(ring < [9.01, 45.16])
    assert found["rsmoe"]["answer"] == "\\x1b[31m[SEG]"  # control characters are shown, not sent
    chat = web.post(CHAT, json=asked(content)).json()
    assert [layer["name"] for layer in chat["rsmoe"]["layers"]] == ["mask"]
    assert chat["choices"][0]["message"]["content"] == "\\x1b[31m[SEG]"


def test_boxes_lie_where_the_picture_lies(
    web: httpx.Client, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, model: Assistant
) -> None:
    from rsmoe.evaluation import responder

    weights = (1.0,) * len(model.experts)
    said = Prediction(id="a", task="caption", text="{<50><50><100><75>} {<0><0><10><20>}", weights=weights)
    monkeypatch.setattr(responder, "answer_batch", lambda model, codec, batch, **_: [said] * len(batch))
    given = {"instruction": "the ship", "boxes": "minigpt"}
    found = web.post("/ground", files={"image": geotiff(tmp_path / "a.tif", pixels())}, data=given)
    assert found.headers["content-type"] == "application/geo+json"
    first, second = found.json()["features"]
    assert first["properties"]["box_px"] == [26, 20, 52, 30] and second["properties"]["box_px"] == [0, 0, 5.2, 8]
    assert found.json()["rsmoe"]["boxes_px"] == [[26, 20, 52, 30], [0, 0, 5.2, 8]]
    assert (found.json()["rsmoe"]["answer"], found.json()["rsmoe"]["crs"]) == (said.text, "EPSG:32632")
    ring = np.array(first["geometry"]["coordinates"][0])
    lon, lat = warp.transform("EPSG:32632", "EPSG:4326", [500_260, 500_520], [4_999_800, 4_999_700])  # 10 m a pixel
    np.testing.assert_allclose([ring[:, 0].min(), ring[:, 0].max()], lon, atol=1e-5)
    np.testing.assert_allclose([ring[:, 1].max(), ring[:, 1].min()], lat, atol=1e-5)
    plain = web.post("/ground", files={"image": png(pixels())}, data=given).json()
    pixel_ring = plain["features"][0]["geometry"]["coordinates"][0]
    assert {tuple(p) for p in pixel_ring} == {(26, 20), (52, 20), (52, 30), (26, 30)}
    nothing = web.post("/ground", files={"image": png(pixels())}, data=given | {"boxes": "lhrs"}).json()
    assert nothing["features"] == [] and nothing["rsmoe"]["boxes_px"] is None
    for more, param, message in (
        ({"boxes": ""}, "boxes", "does not say how it writes boxes: send boxes=minigpt"),
        ({"boxes": "minigtp"}, "boxes", "minigpt"),
        ({"instruction": " "}, "instruction", "no instruction"),
        ({"model": "nosuch"}, "model", "no model 'nosuch'"),
    ):
        error = web.post("/ground", files={"image": png(pixels())}, data=given | more).json()["error"]
        assert error["param"] == param and message in error["message"]
    monkeypatch.setattr(model, "run", replace(model.run, box_convention="minigpt"))  # as its training data wrote them
    known = web.post("/ground", files={"image": png(pixels())}, data={"instruction": "the ship"}).json()
    assert known == plain and web.get("/v1/models").json()["rsmoe"]["boxes"] == "minigpt"


def test_requests_at_once_share_a_pass_and_keep_their_answers(model: Assistant) -> None:
    experts = [None, *model.experts]
    bodies = []
    for i in range(16):
        pictures = [png(pixels(i + k)) for k in range(2 if i % 4 == 3 else 1)]  # one date, or two
        stream = {"stream": True} if i % 5 == 4 else {}
        bodies.append(asked(*pictures, model=experts[i % len(experts)] or "mixture", **stream))
    with served(model, window_ms=300) as (url, app), ThreadPoolExecutor(16) as pool:
        ready = threading.Barrier(16)

        def post(body: dict[str, Any]) -> str:
            ready.wait()
            answer = httpx.post(url + CHAT, json=body, timeout=60)
            if not body.get("stream"):
                return answer.json()["choices"][0]["message"]["content"]
            events = [json.loads(line[6:]) for line in answer.text.split("\n\n") if line.startswith("data: {")]
            return "".join(e["choices"][0]["delta"].get("content", "") for e in events)

        answers = list(pool.map(post, bodies))
        metrics = httpx.get(f"{url}/metrics").text
    alone = []
    with served(model, batch_size=1) as (url, _):
        for body in bodies:
            plain = {key: value for key, value in body.items() if key != "stream"}
            alone.append(httpx.post(url + CHAT, json=plain, timeout=60).json()["choices"][0]["message"]["content"])
    assert answers == alone and len(set(answers)) > 1
    values = dict(line.rsplit(" ", 1) for line in metrics.splitlines() if not line.startswith("#"))
    assert values["rsmoe_answers_total"] == "16" and int(values["rsmoe_batches_total"]) <= 4
    assert values['rsmoe_requests_total{path="/v1/chat/completions",status="200"}'] == "16"
    assert app.service.counters.open == 0


def test_files_of_the_allowed_folder_alone(model: Assistant, tmp_path: Path) -> None:
    folder = tmp_path / "scenes"
    folder.mkdir()
    geotiff(folder / "a b.tif", pixels())
    (tmp_path / "secret.png").write_bytes(png(pixels()))
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    body = asked(png(pixels()))

    def post(url: str, place: str) -> httpx.Response:
        body["messages"][0]["content"][0]["image_url"]["url"] = place
        return httpx.post(url + CHAT, json=body, timeout=60)

    with served(model, files=str(folder)) as (url, _):
        for place in ("file:a b.tif", "file:a%20b.tif", f"file://{folder}/a%20b.tif"):
            assert post(url, place).json()["rsmoe"]["crs"] == "EPSG:32632"
        for place in ("file:../secret.png", f"file://{tmp_path}/secret.png", "file:link.png", "file:", "file:none",
                      "file:/dev/zero", "file:a\0b", "file:" + "x" * 5000):  # fmt: skip
            answer = post(url, place)
            assert answer.status_code == 404 and "in the folder that this server" in answer.json()["error"]["message"]
    with served(model) as (url, _):
        assert post(url, f"file://{tmp_path}/secret.png").status_code == 403


def test_the_yaml_and_the_page(web: httpx.Client, model: Assistant) -> None:
    page = web.get("/")
    assert page.status_code == 200 and "default-src 'none'" in page.headers["content-security-policy"]
    assert web.get("/health").json() == {"status": "ok", "version": rsmoe.__version__}
    known = web.get("/v1/models").json()["rsmoe"]
    assert known["experts"] == list(model.experts) and known["max_tokens"] == 8
    assert address(b"") == "data:image/png;base64,"


def test_the_command(model: Assistant, tmp_path: Path) -> None:
    folder = model.save_pretrained(tmp_path / "saved")
    words = [sys.executable, "-m", "rsmoe.serve", f"checkpoint={folder}", "device=cpu", "port=0"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    said = [process.stdout.readline() for _ in range(2)]
    (url,) = re.findall(r"http://127.0.0.1:\d+", said[1])
    assert said[0] == f"saved: {', '.join(model.experts)}\n"
    answer = httpx.post(url + CHAT, json=asked(png(pixels()), max_tokens=4), timeout=60).json()
    assert answer["choices"][0]["message"]["content"] == model.ask(pixels(), WORDS, beams=1, max_new=4).text
    taken = subprocess.run([*words[:-1], f"port={url.rpartition(':')[2]}"], capture_output=True, text=True)
    assert taken.returncode == 1 and taken.stderr.startswith("error: cannot listen on host=127.0.0.1 port=")
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "error: interrupted\n")
