"""``python -m rsmoe.serve checkpoint=...``: a trained model as an API and as a page in the browser."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rsmoe.cli import main
from rsmoe.errors import UserError

if TYPE_CHECKING:
    from omegaconf import DictConfig


@main("serve")
def cli(cfg: DictConfig) -> None:
    """Loads the model, listens, and answers until Ctrl-C."""
    try:
        import httpx  # noqa: F401
        import python_multipart  # noqa: F401
        import uvicorn
    except ImportError as error:
        raise UserError(f"the server needs {error.name}: pip install 'rsmoe[serve]'") from error
    from omegaconf import OmegaConf

    import rsmoe
    from rsmoe.cli.terminal import console
    from rsmoe.settings.serve import Serve
    from rsmoe.web.app import App

    config: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
    config.pop("hydra", None)
    settings = Serve.model_validate(config)
    if settings.files is not None and not Path(settings.files).is_dir():
        raise UserError(f"files={settings.files}: no such folder")
    listening = _listen(settings.host, settings.port)
    model = rsmoe.load(settings.checkpoint, device=settings.device)
    app = App(model=model, name=Path(settings.checkpoint).resolve().name, settings=settings)
    host, port = listening.getsockname()[:2]
    console().print(
        f"{app.name}: {', '.join(model.experts)}\npage and API: http://{f'[{host}]' if ':' in host else host}:{port}"
        "  (Ctrl-C ends it)", soft_wrap=True,
    )  # fmt: skip
    server = uvicorn.Server(uvicorn.Config(app.asgi, log_level="warning", server_header=False, ws="none"))
    server.run(sockets=[listening])


def _listen(host: str, port: int) -> socket.socket:
    """Before the model is loaded: a port that is taken is known at once."""
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise UserError(f"cannot listen on host={host} port={port}: {error.strerror}; give another port=") from error


if __name__ == "__main__":
    cli()
