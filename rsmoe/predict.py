"""``python -m rsmoe.predict checkpoint=... image=... instruction="..."``: one answer, and how the router came to it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from rsmoe.config import main


def predict(
    *, checkpoint: Path, images: list[Path], instruction: str, beams: int = 3, max_new: int = 80
) -> dict[str, Any]:
    """Answers one request on one image, or on two dates of it.

    Returns:
        text; weights: expert -> weight of the router; prompts: expert -> its prompt in words; mask: (H, W) bool of the
        first image's size when the answer holds [SEG], else None.
    """
    from rsmoe.build import load_run
    from rsmoe.data.collate import Collate
    from rsmoe.data.sample import Sample
    from rsmoe.training.answer import answer_batch, prompt_words
    from rsmoe.training.run import load_checkpoint

    loaded = load_checkpoint(checkpoint)
    model, codec, words = load_run(loaded)
    config = loaded["hyper_parameters"]["config"]
    options = {k: config[k] for k in ("image_size", "mean", "std")} | dict(config["loader"]["collate"])
    collate = Collate(codec=codec, instruction_codec=words, **options, inference=True)
    # the task is a label of training data: at inference nothing reads it
    sample = Sample(
        id="request",
        images=tuple(images),
        instruction=instruction,
        responses=("",),
        task="caption",
        source="command line",
    )
    batch = collate([(sample, 0)])
    (given,) = answer_batch(model, codec, batch, beams=beams, max_new=max_new)
    return {
        "text": given.text,
        "weights": dict(zip(model.names, given.weights, strict=True)),
        "prompts": prompt_words(model, codec, batch),
        "mask": given.mask,
    }


@main("predict", literal=("checkpoint", "image", "instruction", "out"))
def cli(cfg: DictConfig) -> None:
    """Prints the answer and the router's table; writes the mask where ``out`` says."""
    given = OmegaConf.to_container(cfg.image) if OmegaConf.is_list(cfg.image) else [cfg.image]
    out = predict(
        checkpoint=Path(cfg.checkpoint),
        images=[Path(str(p)) for p in given],  # type: ignore[union-attr]
        instruction=cfg.instruction,
        beams=cfg.beams,
        max_new=cfg.max_new,
    )
    console = Console()
    console.print(out["text"], style="bold", markup=False, highlight=False, soft_wrap=True)
    table = Table("expert", "weight", "prompt")
    for name, weight in sorted(out["weights"].items(), key=lambda item: -item[1]):
        table.add_row(name, f"{weight:.3f}", escape(out["prompts"].get(name, "")))
    console.print(table)
    if out["mask"] is not None:
        from PIL import Image

        if cfg.out is None:
            console.print("the answer holds a mask: add out=mask.png to write it", markup=False)
        else:
            Image.fromarray(out["mask"].astype("uint8") * 255).save(cfg.out)
            console.print(f"mask written to {cfg.out}", markup=False)


if __name__ == "__main__":
    cli()
