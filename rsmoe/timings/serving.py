"""Answers a second of `rsmoe.serve` at 16 clients beside one: ``python -m rsmoe.timings.serving <run>``.

The server is a process of its own on loopback. Every client asks again and again about a picture of its own; each
answer is compared with the one that was given before the others came: one lost or mixed-up answer ends it with an
error. "one at a time" is the same crowd at a server that takes one request a pass (``batch_size=1``).
"""

from __future__ import annotations

import argparse
import base64
import io
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table


def body(number: int, side: int) -> dict[str, object]:
    """A request about a picture of its own."""
    image = np.random.default_rng(number).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(image).resize((side, side)).save(file, "png")
    url = f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
    words = {"type": "text", "text": "describe this image in detail ."}
    return {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}, words]}]}


def text(client: httpx.Client, request: dict[str, object]) -> str:
    """The answer; an error for any other status than 200."""
    answer = client.post("/v1/chat/completions", json=request).raise_for_status().json()
    return str(answer["choices"][0]["message"]["content"])


def passes(client: httpx.Client) -> int:
    """Passes of the model since the server started."""
    found = re.search(r"^rsmoe_batches_total (\d+)$", client.get("/metrics").text, re.MULTILINE)
    assert found is not None
    return int(found[1])


@contextmanager
def server(run: str, *, batch_size: int, max_new: int) -> Iterator[str]:
    """Address of a server that has loaded its model."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    words = [f"checkpoint={run}", f"port={port}", f"batch_size={batch_size}", f"max_new={max_new}"]
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
        yield url
    finally:
        process.terminate()
        process.wait()


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="a run folder, or a checkpoint")
    for name, value in {"clients": 16, "seconds": 10, "max-new": 40, "side": 256}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    given = parser.parse_args()
    bodies = [body(i, given.side) for i in range(given.clients)]
    table = Table("server", "clients", "answers", "answers/s", "median s", "95 % s", "requests a pass")
    ways = (("one client", 16, 1), ("one at a time", 1, given.clients), ("batched", 16, given.clients))
    for name, size, clients in ways:
        with (
            server(given.run, batch_size=size, max_new=given.max_new) as url,
            httpx.Client(base_url=url, timeout=120) as first,
        ):
            expected = [text(first, request) for request in bodies]
            before, begin = passes(first), time.perf_counter()

            def crowd(number: int) -> list[float]:
                took = []
                with httpx.Client(base_url=url, timeout=120) as own:
                    while (asked := time.perf_counter()) < begin + given.seconds:  # noqa: B023
                        if text(own, bodies[number]) != expected[number]:  # noqa: B023
                            raise SystemExit(f"client {number} got the answer of another")
                        took.append(time.perf_counter() - asked)
                return took

            with ThreadPoolExecutor(clients) as pool:
                took = [seconds for some in pool.map(crowd, range(clients)) for seconds in some]
            rate, together = len(took) / (time.perf_counter() - begin), len(took) / (passes(first) - before)
        low, high = np.percentile(took, [50, 95])
        table.add_row(name, str(clients), str(len(took)), f"{rate:.1f}", f"{low:.3f}", f"{high:.3f}", f"{together:.1f}")
    Console().print(table)


if __name__ == "__main__":
    main()
