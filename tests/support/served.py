"""A server on loopback over a model that was trained for a moment."""

from __future__ import annotations

import base64
import io
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import uvicorn
from PIL import Image

from rsmoe.config import conf_dir
from rsmoe.evaluation.assistant import Assistant
from rsmoe.settings.serve import Serve
from rsmoe.web.app import App


def settings(**changed: Any) -> Serve:
    """Those of ``conf/serve.yaml``, for short answers."""
    import yaml

    given = yaml.safe_load((conf_dir() / "serve.yaml").read_text())
    given = {key: value for key, value in given.items() if key not in ("defaults", "hydra")}
    return Serve.model_validate(given | {"checkpoint": "run", "max_new": 8, **changed})


@contextmanager
def served(model: Assistant, **changed: Any) -> Iterator[tuple[str, App]]:
    """Address of a server that runs in a thread, and its application."""
    app = App(model=model, name="run", settings=settings(**changed))
    server = uvicorn.Server(uvicorn.Config(app.asgi, host="127.0.0.1", port=0, log_level="critical"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}", app
    finally:
        server.should_exit = True
        thread.join(20)


def pixels(seed: int = 0, size: tuple[int, int] = (40, 52)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (*size, 3), dtype=np.uint8)


def png(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "png")
    return file.getvalue()


def address(content: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def geotiff(path: Path, image: np.ndarray) -> bytes:
    height, width, bands = image.shape
    with rasterio.open(
        path, "w", driver="GTiff", width=width, height=height, count=bands, dtype="uint8", photometric="RGB",
        crs="EPSG:32632", transform=rasterio.Affine(10, 0, 5e5, 0, -10, 5e6),
    ) as file:  # fmt: skip
        file.write(np.moveaxis(image, -1, 0))
    return path.read_bytes()


def asked(*pictures: bytes, words: str = "how many ships are there ?", **more: Any) -> dict[str, Any]:
    """The body of a chat completion."""
    parts: list[dict[str, Any]] = [{"type": "image_url", "image_url": {"url": address(p)}} for p in pictures]
    return {"messages": [{"role": "user", "content": [*parts, {"type": "text", "text": words}]}], **more}
