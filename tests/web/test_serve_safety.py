"""What is wrong with a request is one error in OpenAI's form, and the next request is answered."""

from __future__ import annotations

import io
import json
import socket
import struct
import threading
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import rasterio
from support.checkpoints import tiny_run
from support.served import address, asked, geotiff, pixels, png, served

import rsmoe
from rsmoe.evaluation.assistant import Assistant

CHAT = "/v1/chat/completions"
SLOW = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Assistant:
    return rsmoe.load(tiny_run(tmp_path_factory.mktemp("run"), "temporal.dropout=0.0"), device="cpu")


@pytest.fixture(scope="module")
def url(model: Assistant) -> Iterator[str]:
    with served(model, max_mb=1, max_pixels=1_000_000, body_seconds=3, max_pictures=2) as (found, _):
        yield found


@pytest.fixture(autouse=True)
def the_next_request_is_answered(url: str) -> Iterator[None]:
    yield
    assert httpx.post(url + CHAT, json=asked(png(pixels())), timeout=60).status_code == 200


def error(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    (found,) = answer.json().values()
    assert set(found) == {"message", "type", "param", "code"} and "Traceback" not in found["message"]
    return found


def bomb(width: int, height: int) -> bytes:
    """A PNG of few bytes and many pixels."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "EOF"),
        (b"{", "EOF"),
        (b"[1]", "body"),
        (b"\xff\xfe{}", "Invalid JSON"),
        (b"[" * 50_000, "recursion limit"),
        (b'{"messages": []}', "messages"),
        (b'{"messages": [{"role": "user", "content": 3}]}', "messages.0.content"),
        (b'{"messages": [{"role": "wizard", "content": "a"}]}', "messages.0.role"),
        (json.dumps({"messages": [{"role": "user", "content": "a" * 20_000}]}).encode(), "16000"),
        (json.dumps({"messages": [{"role": "assistant", "content": "a"}]}).encode(), "has to be of the user"),
    ],
)  # fmt: skip
def test_a_body_that_is_no_request(url: str, body: bytes, message: str) -> None:
    assert message in error(httpx.post(url + CHAT, content=body), 400)["message"]


@pytest.mark.parametrize(
    ("place", "status", "message"),
    [
        ("data:image/png;base64,!!!!", 400, "not valid base64"),
        ("data:image/png;base64,abc", 400, "not valid base64"),
        ("data:image/png;base64,", 400, "empty"),
        ("data:image/png,abc", 400, "expected data:image/png;base64"),
        ("http://127.0.0.1:1/a.png", 400, "http addresses are not read"),
        ("file:///etc/passwd", 403, "opens no files"),
        ("/etc/passwd", 400, "expected data:"),
        ("", 400, "expected data:"),
        (address(b"\x1b]0;hello\x07 no picture"), 400, "not a picture that can be read"),
        (address(png(pixels())[:200]), 400, "truncated or damaged"),
        (address(bomb(30_000, 30_000)), 400, "pixels, too many"),
        (address(bomb(2_000, 2_000)), 413, "2000 x 2000 pixels, more than the 1,000,000"),
        (address(b"EHFA_HEADER_TAG" + bytes(500)), 400, "kind that is not taken"),
        (address(b"<VRTDataset rasterXSize='2' rasterYSize='2'></VRTDataset>"), 400, "not a picture"),
        (address(b"GIF89a"), 400, "not a picture"),
    ],
)  # fmt: skip
def test_a_picture_that_cannot_be_read(url: str, place: str, status: int, message: str) -> None:
    body = asked(png(pixels()))
    body["messages"][0]["content"][0]["image_url"]["url"] = place
    found = error(httpx.post(url + CHAT, json=body, timeout=60), status)
    assert message in found["message"] and "rsmoe-serve-" not in found["message"] and "\x1b" not in found["message"]


def test_a_tiff_that_promises_more_than_there_is(url: str, tmp_path: Path) -> None:
    with rasterio.open(
        tmp_path / "a.tif", "w", driver="GTiff", width=60_000, height=60_000, count=1, dtype="uint8",
        compress="deflate", tiled=True, sparse_ok=True, transform=rasterio.Affine(10, 0, 5e5, 0, -10, 5e6),
    ):  # fmt: skip
        pass
    content = (tmp_path / "a.tif").read_bytes()
    with io.BytesIO(content) as file:
        answer = httpx.post(url + "/segment", files={"image": file}, data={"instruction": "the ship"}, timeout=60)
    assert "60000 x 60000 pixels" in error(answer, 413)["message"]
    torn = geotiff(tmp_path / "b.tif", pixels())[:300]
    answer = httpx.post(url + "/segment", files={"image": torn}, data={"instruction": "a"}, timeout=60)
    assert "picture-1" in error(answer, 400)["message"]


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"n": 2, "temperature": 0}, "n"), ({"n": 0}, "n"), ({"n": 129}, "n"), ({"n": 17}, "n"), ({"n": 1.5}, "n"),
        ({"temperature": -0.1}, "temperature"), ({"temperature": 2.1}, "temperature"), ({"top_p": 1.1}, "top_p"),
        ({"temperature": "warm"}, "temperature"), ({"temperature": True}, "temperature"), ({"top_p": -0.1}, "top_p"),
        ({"seed": 0.5}, "seed"), ({"seed": 2**63}, "seed"), ({"stop": [".", ""]}, "stop.1"), ({"stop": ""}, "stop.0"),
        ({"stop": ["a"] * 5}, "stop"), ({"stop": 3}, "stop"), ({"stream": "perhaps"}, "stream"),
        ({"temperature": 1, "rsmoe": {"beams": 3}}, "rsmoe.beams"),
        ({"max_tokens": 0}, "max_tokens"), ({"max_tokens": "x"}, "max_tokens"),
        ({"tools": [{"type": "function"}]}, "tools"), ({"logprobs": True}, "logprobs"),
        ({"rsmoe": {"beams": 99}}, "rsmoe.beams"), ({"rsmoe": {"nosuch": 1}}, "rsmoe.nosuch"),
    ],
)  # fmt: skip
def test_what_cannot_be_honoured_is_refused(url: str, more: dict[str, Any], param: str) -> None:
    assert error(httpx.post(url + CHAT, json=asked(png(pixels()), **more)), 400)["param"] == param


def test_pictures_that_do_not_go_together(url: str) -> None:
    two = asked(png(pixels()), png(pixels(size=(30, 30))))
    assert "different sizes" in error(httpx.post(url + CHAT, json=two), 400)["message"]
    assert (
        "3 pictures: this server takes 2"
        in error(httpx.post(url + CHAT, json=asked(*[png(pixels())] * 3)), 400)["message"]
    )


@pytest.mark.parametrize("path", ["/segment", "/change", CHAT])
def test_forms_that_are_none(url: str, path: str) -> None:
    for content, kind in ((b"--x\r\n", "multipart/form-data; boundary=x"), (b"a", "multipart/form-data"), (b"", "")):
        assert error(httpx.post(url + path, content=content, headers={"content-type": kind}), 400)["message"]


def test_a_model_without_a_map_of_changes(url: str) -> None:
    two = {"before": png(pixels(0)), "after": png(pixels(1))}
    assert "no map of changes" in error(httpx.post(url + "/change", files=two), 400)["message"]


def test_paths_and_methods(url: str) -> None:
    found = error(httpx.get(url + "/nosuch%1b"), 404)
    assert "\x1b" not in found["message"]
    assert found["type"] == "not_found_error"
    for answer in (httpx.get(url + CHAT), httpx.post(url + "/health")):
        assert error(answer, 405)["type"] == "invalid_request_error"


def _raw(url: str, *pieces: bytes, pause: float = 0.0) -> bytes:
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        for piece in pieces:
            try:
                connection.sendall(piece)
            except OSError:
                break
            time.sleep(pause)
        found = b""
        while True:
            try:
                some = connection.recv(65536)
            except OSError:
                return found
            if not some:
                return found
            found += some


def test_bodies_beyond_the_limit(url: str) -> None:
    head = b"POST %s HTTP/1.1\r\nHost: localhost\r\n" % CHAT.encode()
    assert b" 413 " in _raw(url, head + b"Content-Length: 4294967296\r\n\r\n{").splitlines()[0]
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"  # its length is not said before
    assert b" 413 " in _raw(url, head + b"Transfer-Encoding: chunked\r\n\r\n", *[chunk] * 20).splitlines()[0]
    assert b" 400 " in _raw(url, head + b"Content-Length: -5\r\n\r\n{").splitlines()[0]


def test_a_slow_client_is_cut_off(url: str) -> None:
    assert b" 408 " in _raw(url, SLOW, *[b"{"] * 60, pause=0.1).splitlines()[0]


def test_slow_clients_hold_up_nobody(model: Assistant) -> None:
    with served(model, body_seconds=600) as (url, app):
        host, port = url.removeprefix("http://").split(":")
        slow = [socket.create_connection((host, int(port))) for _ in range(40)]
        for number, connection in enumerate(slow):
            connection.sendall(SLOW[: 30 if number % 2 else None])  # half of them do not end their headers
        while app.service.counters.open < 20:
            time.sleep(0.01)
        assert httpx.post(url + CHAT, json=asked(png(pixels())), timeout=60).status_code == 200
        for connection in slow:
            connection.close()


def test_a_full_queue_and_a_failure_of_the_model(model: Assistant, monkeypatch: pytest.MonkeyPatch) -> None:
    go = threading.Event()
    answer = model.answer

    def held(given: Any, **more: Any) -> Any:
        assert go.wait(30)
        if any(request.instruction == "break" for request in given):
            raise RuntimeError("a defect with /a/path in it")
        return answer(given, **more)

    monkeypatch.setattr(model, "answer", held)
    with served(model, queue=4, window_ms=200) as (url, app), ThreadPoolExecutor(4) as pool:
        words = ["how many ?", "break", "where ?", "what ?"]
        waiting = [
            pool.submit(httpx.post, url + CHAT, json=asked(png(pixels(i)), words=w), timeout=60)
            for i, w in enumerate(words)
        ]
        while app.service.counters.open < 4:
            time.sleep(0.01)
        full = [httpx.post(url + CHAT, json=asked(png(pixels()))) for _ in range(20)]
        assert httpx.get(url + "/health").status_code == 200
        go.set()
        got = [future.result() for future in waiting]
    assert {error(answer, 429)["code"] for answer in full} == {"queue_full"} and full[0].headers["retry-after"] == "1"
    assert [answer.status_code for answer in got] == [200, 500, 200, 200]
    assert "/a/path" not in error(got[1], 500)["message"]


def test_keys_other_sites_and_other_names(model: Assistant, url: str) -> None:
    body = asked(png(pixels()))
    with served(model, key="s3cret") as (locked, _):
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Bearer s3cret2"}):
            error(httpx.post(locked + CHAT, json=body, headers=headers), 401)
        assert httpx.post(locked + CHAT, json=body, headers={"Authorization": "Bearer s3cret"}).status_code == 200
        assert httpx.get(locked + "/health").status_code == httpx.get(locked + "/").status_code == 200
        error(httpx.get(locked + "/metrics"), 401)
    error(httpx.post(url + CHAT, json=body, headers={"Origin": "https://evil.example"}), 403)
    error(httpx.post(url + CHAT, json=body, headers={"Origin": "null"}), 403)
    error(httpx.get(url + "/v1/models", headers={"Host": "evil.example"}), 403)
    own = httpx.post(url + CHAT, json=body, headers={"Origin": url})
    assert own.status_code == 200 and not [name for name in own.headers if name.startswith("access-control")]
    assert error(httpx.options(url + CHAT, headers={"Origin": "https://evil.example"}), 403)


def test_nothing_is_left_on_disk(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    httpx.post(url + CHAT, json=asked(png(pixels())), timeout=60)
    httpx.post(url + CHAT, json=asked(png(pixels()), stream=True), timeout=60)
    httpx.post(url + CHAT, json=asked(b"no picture"), timeout=60)
    with pytest.raises(httpx.TimeoutException):  # a client that goes away
        httpx.post(url + CHAT, json=asked(png(np.zeros((900, 900, 3), np.uint8)), stream=True), timeout=0.01)
    end = time.monotonic() + 10
    while list(tmp_path.iterdir()) and time.monotonic() < end:
        time.sleep(0.05)
    assert list(tmp_path.iterdir()) == []
