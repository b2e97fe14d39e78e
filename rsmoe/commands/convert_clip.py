"""``python -m rsmoe.commands.convert_clip file=<file> out=<folder>``: a public CLIP file as a transformers folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rsmoe.cli import main

if TYPE_CHECKING:
    from omegaconf import DictConfig


@main("convert_clip")
def cli(cfg: DictConfig) -> None:
    """Writes the folder, and says which activation it has and why."""
    from rsmoe.cli.terminal import console as open_console
    from rsmoe.data.text_codec import TextCodec
    from rsmoe.files import require_writable, write_text
    from rsmoe.weights.as_trained import CLIP_PIXELS
    from rsmoe.weights.open_clip import read_clip, to_transformers

    out, console = Path(cfg.out), open_console()
    require_writable(out, "out=")
    tokenizer = TextCodec.from_pretrained(cfg.tokenizer).tokenizer if cfg.tokenizer else None
    file = read_clip(Path(cfg.file), kind=cfg.kind)
    model = to_transformers(file, image_size=cfg.image_size)
    vision: Any = model.config.vision_config
    size = vision.image_size
    model.save_pretrained(out)
    if tokenizer is not None:
        tokenizer.save_pretrained(out)
    pixels: dict[str, Any] = {
        "image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": size},
        "crop_size": {"height": size, "width": size}, "image_mean": CLIP_PIXELS["mean"],
        "image_std": CLIP_PIXELS["std"], "resample": 3, "rescale_factor": 1 / 255, "do_resize": True,
        "do_center_crop": True, "do_rescale": True,
        "do_normalize": True, "do_convert_rgb": True,
    }  # fmt: skip
    write_text(out / "preprocessor_config.json", json.dumps(pixels, indent=1) + "\n")
    tower = f"ViT of {vision.hidden_size} channels, patches of {vision.patch_size}"
    if hasattr(vision, "layers"):
        tower = f"ResNet of {'-'.join(map(str, vision.layers))} blocks for vision=clip_rn50"
    millions = sum(p.numel() for p in model.parameters()) / 1e6
    console.print(
        f"{cfg.file}: {file.kind}, {tower}, {size} px, {millions:.0f} M parameters; "
        f"{model.config.text_config.hidden_act}, as {file.kind} was trained. "
        f"{'With' if tokenizer is not None else 'Without'} a tokenizer, into {out}",
        markup=False, highlight=False, soft_wrap=True,
    )  # fmt: skip


if __name__ == "__main__":
    cli()
