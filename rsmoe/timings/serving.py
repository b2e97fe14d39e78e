"""Answers a second of `rsmoe.serve` at 16 clients beside one: ``python -m rsmoe.timings.serving <run>``.

The server runs in this process, on loopback. Every client asks again and again about a picture of its own; each answer
is compared with the one that was given before the others came: one lost or mixed-up answer ends it with an error.
"one at a time" is the same crowd at a server that takes one request a pass (``batch_size=1``).
"""

from __future__ import annotations

import argparse
import base64
import io
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import numpy as np
import uvicorn
from omegaconf import OmegaConf
from PIL import Image
from rich.console import Console
from rich.table import Table

import rsmoe
from rsmoe.config import conf_dir
from rsmoe.evaluation.assistant import Assistant
from rsmoe.settings.serve import Serve
from rsmoe.web.app import App

_CHAT = "/v1/chat/completions"


def body(number: int, side: int) -> dict[str, object]:
    """A request about a picture of its own."""
    image = np.random.default_rng(number).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(image).resize((side, side)).save(file, "png")
    url = f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
    words = {"type": "text", "text": "describe this image in detail ."}
    return {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}, words]}]}


def text(url: str, client: httpx.Client, request: dict[str, object]) -> str:
    """The answer; an error for any other status than 200."""
    found: str = client.post(url + _CHAT, json=request).raise_for_status().json()["choices"][0]["message"]["content"]
    return found


@contextmanager
def server(model: Assistant, *, batch_size: int, max_new: int) -> Iterator[tuple[str, App]]:
    """Address of a server in a thread, with the limits of ``conf/serve.yaml``."""
    given = OmegaConf.to_container(OmegaConf.load(conf_dir() / "serve.yaml"))
    assert isinstance(given, dict)
    own = {key: value for key, value in given.items() if key not in ("defaults", "hydra")}
    settings = Serve.model_validate(own | {"checkpoint": "-", "batch_size": batch_size, "max_new": max_new})
    app = App(model=model, name="timing", settings=settings)
    serving = uvicorn.Server(uvicorn.Config(app.asgi, host="127.0.0.1", port=0, log_level="warning"))
    thread = threading.Thread(target=serving.run, daemon=True)
    thread.start()
    while not serving.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{serving.servers[0].sockets[0].getsockname()[1]}", app
    serving.should_exit = True
    thread.join()


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="a run folder, or a checkpoint")
    for name, value in {"clients": 16, "seconds": 10, "max-new": 40, "side": 256}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    given = parser.parse_args()
    model = rsmoe.load(given.run)
    bodies = [body(i, given.side) for i in range(given.clients)]
    table = Table("server", "clients", "answers", "answers/s", "median s", "95 % s", "requests a pass")
    for name, size, clients in (
        ("one client", 16, 1),
        ("one at a time", 1, given.clients),
        ("batched", 16, given.clients),
    ):
        with server(model, batch_size=size, max_new=given.max_new) as (url, app), httpx.Client(timeout=60) as first:
            expected = [text(url, first, request) for request in bodies]
            before = app.service.counters.batches
            end = time.perf_counter() + given.seconds

            def crowd(number: int) -> list[float]:
                took = []
                with httpx.Client(timeout=60) as own:
                    while (begin := time.perf_counter()) < end:  # noqa: B023
                        if text(url, own, bodies[number]) != expected[number]:  # noqa: B023
                            raise SystemExit(f"client {number} got the answer of another")
                        took.append(time.perf_counter() - begin)
                return took

            begin = time.perf_counter()
            with ThreadPoolExecutor(clients) as pool:
                took = [seconds for some in pool.map(crowd, range(clients)) for seconds in some]
            rate = len(took) / (time.perf_counter() - begin)
            passes = app.service.counters.batches - before
        low, high = np.percentile(took, [50, 95])
        row = (len(took), f"{rate:.1f}", f"{low:.3f}", f"{high:.3f}", f"{len(took) / passes:.1f}")
        table.add_row(name, str(clients), *map(str, row))
    Console().print(table)


if __name__ == "__main__":
    main()
