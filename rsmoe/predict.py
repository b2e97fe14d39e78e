"""``python -m rsmoe.predict checkpoint=... image=... instruction="..."``: answers, and where they lie on the map.

One request is printed with what the router made of it; of many, one line of ``answers.jsonl`` each. In a terminal, a
picture without an instruction opens a chat.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rsmoe.cli import main
from rsmoe.errors import UserError

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from rsmoe.evaluation.known import Knowledge


def _knowledge(store: str, *, device: str) -> Knowledge:
    """An opened store; one that cannot be read is no reason not to answer, and every answer says so."""
    from rsmoe.evaluation.known import Nothing
    from rsmoe.knowledge.knowledge import Knowledge

    try:
        return Knowledge.open(store, device=device)
    except UserError as error:
        return Nothing(str(error))


@main("predict")
def cli(cfg: DictConfig) -> None:
    """Reads the requests, asks the model, prints and writes what ``out`` says."""
    from omegaconf import OmegaConf

    import rsmoe
    from rsmoe.cli.terminal import console as open_console
    from rsmoe.data.boxes import convention
    from rsmoe.evaluation.answer_requests import answer_requests
    from rsmoe.evaluation.asked_region import read_region
    from rsmoe.evaluation.chat import Chat
    from rsmoe.evaluation.predict_one import predict_one
    from rsmoe.evaluation.reply_files import picture_name
    from rsmoe.evaluation.request_list import list_requests, read_requests
    from rsmoe.geo.layers import require_layers

    if cfg.boxes is not None:
        convention(cfg.boxes)
    if cfg.layers is not None:
        require_layers()
    config: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
    if cfg.requests is None:
        region = read_region(config["region"])
        requests = list_requests(
            config["image"], dates=cfg.dates, instruction=cfg.instruction, asset=cfg.asset, region=region
        )
    else:
        if given := [key for key in ("region", "asset", "dates") if config[key] is not None]:
            raise UserError(f"{given[0]}= goes with image=, and requests= is given: leave one of them out")
        requests = read_requests(Path(cfg.requests), instruction=cfg.instruction)
    out = None if cfg.out is None else Path(cfg.out)
    several = len(requests) > 1 or cfg.requests is not None or bool(requests[0].about)
    if several and out is not None and picture_name(out):
        raise UserError(f"out={out} is a picture, for the mask of one request; of {len(requests)}, give a folder")
    if cfg.layers is not None and picture_name(Path(cfg.out)):
        raise UserError(f"out={cfg.out} is a picture: layers={cfg.layers} needs a folder, out=folder")
    console = open_console()
    model = rsmoe.load(cfg.checkpoint, device=cfg.device)
    options = {
        "beams": cfg.beams or (1 if cfg.temperature > 0 else 3),
        "max_new": cfg.max_new,
        **({key: config[key] for key in ("temperature", "top_p", "seed")} if cfg.temperature > 0 else {}),
        **({"stop": config["stop"]} if config["stop"] else {}),
        "raster": {key: value for key, value in {**config["raster"], "gsd_m": cfg.gsd_m}.items() if value is not None},
        "tile": -1 if several and out is None else cfg.tile,
        "boxes": cfg.boxes,
        "confidence": True,
        **({"knowledge": _knowledge(cfg.knowledge, device=cfg.device)} if cfg.knowledge is not None else {}),
    }
    where: dict[str, Any] = {
        "checkpoint": Path(cfg.checkpoint), "classes": config["classes"] or model.run.change_classes,
        "layers": cfg.layers, "simplify_px": cfg.simplify_px,
    }  # fmt: skip
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        if several:
            size = cfg.batch_size
            answer_requests(model, requests, folder=out, batch_size=size, options=options, console=console, **where)
        elif cfg.instruction is None and out is None and sys.stdin.isatty() and console.is_terminal:
            Chat(model=model, request=requests[0], options=options, console=console).run(lambda: console.input("> "))
        else:
            predict_one(model, requests[0], out=out, options=options, console=console, **where)
    for message in dict.fromkeys(str(w.message) for w in caught if w.category is UserWarning):
        console.print(f"warning: {message}", style="red", markup=False, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    cli()
