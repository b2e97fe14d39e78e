"""A web server of shards that fails on demand."""

from __future__ import annotations

import contextlib
import multiprocessing
import re
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from rsmoe.data.files import http_ranges


class Handler(SimpleHTTPRequestHandler):
    """Files of a folder; with ranges, and with faults that the test arranges."""

    ranges = True
    asked: list[tuple[str, str | None]]
    faults: list[int]
    cut = 0
    drips = ""

    def do_GET(self) -> None:
        self.asked.append((self.path, self.headers.get("Range")))
        if self.faults and self.path.endswith(".tar"):
            fault = self.faults.pop(0)
            if fault > 100:
                self.send_error(fault)
                return
        else:
            fault = 0
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.send_error(404)
            return
        content = path.read_bytes()
        found = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range") or "")
        start, stop = (int(found[1]), min(int(found[2]) + 1, len(content))) if found else (0, len(content))
        if self.ranges and found and start >= len(content):
            self.send_error(416)
            return
        if self.ranges and found:
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(content)}")
            content = content[start:stop]
        else:
            self.send_response(200)
        if fault == 2 or self.cut and self.path.endswith(".json"):  # an answer that is short, and says so
            content = content[: len(content) // 2]
            type(self).cut = max(0, self.cut - 1)
        self.send_header("Content-Length", str(len(content)))
        if self.drips == "headers":
            self.drip(b"X: " + b"y" * 999)
        self.end_headers()
        if self.drips == "body":
            self.drip(content)
        self.wfile.write(content[: len(content) // 2] if fault == 1 else content)  # 1: the connection breaks

    def drip(self, content: bytes) -> None:
        with contextlib.suppress(OSError):
            for i in range(len(content)):
                self.wfile.write(content[i : i + 1])
                self.wfile.flush()
                time.sleep(0.05)

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., tuple[str, type[Handler]]]]:
    monkeypatch.setattr(http_ranges, "WAITS_S", (0.0, 0.0, 0.0))
    servers = []

    def start(folder: Path, **options: Any) -> tuple[str, type[Handler]]:
        handler = type("Serving", (Handler,), {"asked": [], "faults": [], **options})
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder)))
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}", handler

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def serve_apart() -> Iterator[Callable[[Path], str]]:
    """Serves a folder from a process of its own; gives the address.

    rasterio reads some properties of a file (its masks, its colours) over the network without releasing the
    interpreter, so that a server in a thread of the same process never answers.
    """
    spawn, processes = multiprocessing.get_context("spawn"), []

    def start(folder: Path) -> str:
        here, there = spawn.Pipe()
        process = spawn.Process(target=_serve, args=(folder, there), daemon=True)
        process.start()
        processes.append(process)
        assert here.poll(60), "the server did not start"
        return f"http://127.0.0.1:{here.recv()}"

    yield start
    for process in processes:
        process.kill()
        process.join()


def _serve(folder: Path, port: Connection) -> None:
    handler = type("Serving", (Handler,), {"asked": [], "faults": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder)))
    port.send(server.server_port)
    server.serve_forever()
