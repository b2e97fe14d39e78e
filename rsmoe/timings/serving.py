"""Answers a second of `rsmoe.serve`, alone and in a crowd: ``python -m rsmoe.timings.serving starter``.

The server is a process of its own on loopback. Each client asks again and again about a generated scene of its own, of
a size that no other has, and every second time by a stream. An answer is its own where size, words and weights of the
router are those that this picture had before the crowd came; all others are counted, and end the command with status 1.
"one at a time" is the same crowd at a server that takes one request a pass (``batch_size=1``). CPU seconds are the
server's own: they say what an answer costs on a machine that does other things, too (Linux).
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

from rsmoe.scenes.generator import SceneGenerator

CHAT = "/v1/chat/completions"
_SAME = 1e-3
"""Difference of a router's weight that is rounding of another batch size."""


def address(picture: np.ndarray) -> str:
    """A picture as ``data:image/png``."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "png")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def bodies(clients: int, *, side: int) -> list[dict[str, Any]]:
    """A request for each client, about a scene that is a column wider than that of the client before."""
    scenes = SceneGenerator(size_px=side + clients, seed=0)
    words = {"type": "text", "text": "Describe this image in detail."}
    found = []
    for number in range(clients):
        url = address(scenes.scene(number).image[:side, : side + number])
        found.append(
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}, words]}]}
        )
    return found


def ask(client: httpx.Client, body: dict[str, Any], *, stream: bool = False) -> tuple[str, dict[str, Any]]:
    """Words, and what stands beside them; an error for any other status than 200."""
    if not stream:
        said = client.post(CHAT, json=body).raise_for_status().json()
        return str(said["choices"][0]["message"]["content"]), said["rsmoe"]
    text = ""
    beside: dict[str, Any] = {}
    with client.stream("POST", CHAT, json=body | {"stream": True}) as response:
        for line in response.raise_for_status().iter_lines():
            if line.startswith("data: {"):
                event = json.loads(line[6:])
                text += event["choices"][0]["delta"].get("content", "")
                beside = event.get("rsmoe", beside)
    return text, beside


def own(answer: tuple[str, dict[str, Any]], expected: tuple[str, dict[str, Any]]) -> bool:
    """Whether an answer is that of its picture."""
    (text, beside), (words, before) = answer, expected
    weights = before["routing"]
    near = all(abs(beside["routing"][name] - weight) < _SAME for name, weight in weights.items())
    return text == words and beside["size_px"] == before["size_px"] and near


def passes(client: httpx.Client) -> int:
    """Passes of the model since the server started."""
    found = re.search(r"^rsmoe_batches_total (\d+)$", client.get("/metrics").text, re.MULTILINE)
    assert found is not None
    return int(found[1])


@contextmanager
def server(run: str, **settings: Any) -> Iterator[tuple[str, int]]:
    """Address and process of a server that has loaded its model."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    words = [f"checkpoint={run}", f"port={port}", *(f"{key}={value}" for key, value in settings.items())]
    process = subprocess.Popen([sys.executable, "-m", "rsmoe.serve", *words], stdout=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        while True:
            try:
                httpx.get(f"{url}/health", timeout=60).raise_for_status()
                break
            except httpx.TransportError:
                if process.poll() is not None:
                    raise SystemExit("the server does not start") from None
                time.sleep(0.2)
        yield url, process.pid
    finally:
        process.terminate()
        process.wait()


def first_answer(url: str, body: dict[str, Any]) -> tuple[float, float]:
    """Seconds until the first words, and until the end, of the first request that a server gets."""
    begin, first = time.perf_counter(), 0.0
    with httpx.stream("POST", url + CHAT, json=body | {"stream": True}, timeout=120) as response:
        for line in response.raise_for_status().iter_lines():
            if not first and line.startswith("data: {") and json.loads(line[6:])["choices"][0]["delta"].get("content"):
                first = time.perf_counter() - begin
    return first, time.perf_counter() - begin


def processor_seconds(process: int) -> float:
    """That it has used, by all of its threads (Linux)."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, kw_only=True)
class Crowd:
    """What clients got from a server."""

    took: list[float]
    """Seconds of every answer."""
    wrong: int
    """Answers that were lost, or another's."""
    seconds: float
    processor_seconds: float
    """Of the server."""
    passes: int

    def row(self, name: str, clients: int) -> list[str]:
        """Of the table."""
        count = len(self.took)
        shares = [f"{value:.2f}" for value in np.percentile(self.took, [50, 95, 99, 100])]
        rates = f"{count / self.seconds:.1f}", f"{self.processor_seconds / count:.3f}"
        return [name, str(clients), str(count), *rates, *shares, f"{count / self.passes:.1f}", str(self.wrong)]


def crowd(url: str, process: int, asked: list[dict[str, Any]], *, seconds: float) -> Crowd:
    """Lets every client ask for so many seconds."""
    with httpx.Client(base_url=url, timeout=300) as first:
        expected = [ask(first, body) for body in asked]
        before, used, begin = passes(first), processor_seconds(process), time.perf_counter()

        def client(number: int) -> tuple[list[float], int]:
            took: list[float] = []
            wrong = 0
            with httpx.Client(base_url=url, timeout=300) as mine:
                while (sent := time.perf_counter()) < begin + seconds:
                    try:
                        answer = ask(mine, asked[number], stream=len(took) % 2 == 1)
                        wrong += not own(answer, expected[number])
                    except (httpx.HTTPError, ValueError, KeyError):
                        wrong += 1
                    took.append(time.perf_counter() - sent)
            return took, wrong

        with ThreadPoolExecutor(len(asked)) as pool:
            found = list(pool.map(client, range(len(asked))))
        return Crowd(
            took=[one for some, _ in found for one in some], wrong=sum(wrong for _, wrong in found),
            seconds=time.perf_counter() - begin, processor_seconds=processor_seconds(process) - used,
            passes=passes(first) - before,
        )  # fmt: skip


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="starter, a run folder, or a checkpoint")
    numbers = {"clients": 16, "seconds": 20, "crowd": 50, "crowd-seconds": 60, "max-new": 40, "side": 256}
    for name, value in numbers.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    given = parser.parse_args()
    asked = bodies(max(given.clients, given.crowd), side=given.side)
    counted = ("server", "clients", "answers", "a second", "CPU s each")
    table = Table(*counted, "50 % s", "95 %", "99 %", "most", "a pass", "wrong")
    ways = (
        ("one client", 16, 1, given.seconds),
        ("one at a time", 1, given.clients, given.seconds),
        ("batched", 16, given.clients, given.seconds),
        ("batched", 16, given.crowd, given.crowd_seconds),
    )
    load, lines, wrong = os.getloadavg()[0], [], 0
    for name, size, clients, seconds in ways:
        with server(given.run, batch_size=size, max_new=given.max_new) as (url, process):
            words, end = first_answer(url, asked[0])
            lines.append(f"first answer of a server: first words after {words:.2f} s, whole after {end:.2f} s")
            found = crowd(url, process, asked[:clients], seconds=seconds)
        wrong += found.wrong
        table.add_row(*found.row(name, clients))
    Console(width=110).print(table)
    print(*lines, f"load of the machine before and after: {load:.1f}, {os.getloadavg()[0]:.1f}", sep="\n")
    raise SystemExit(bool(wrong))


if __name__ == "__main__":
    main()
