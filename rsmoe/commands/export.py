"""``python -m rsmoe.commands.export checkpoint=... out=<folder>``: a trained model as files that others load."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rsmoe.cli import main

if TYPE_CHECKING:
    from omegaconf import DictConfig

_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""That vLLM's ``--max-lora-rank`` takes."""


@main("export")
def cli(cfg: DictConfig) -> None:
    """Writes what `Assistant.save_pretrained` does, ``<expert>/`` for each, ``base/`` where no published model fits.

    Of a dual encoder that went on from a CLIP checkpoint: such a checkpoint again.
    """
    import rsmoe
    from rsmoe.cli.terminal import console
    from rsmoe.contrast.build import load_dual
    from rsmoe.contrast.open_dual import is_dual_path
    from rsmoe.contrast.save_folder import save_folder
    from rsmoe.files import write_text
    from rsmoe.training.checkpoints import find_checkpoint, load_checkpoint

    out, given = Path(cfg.out), Path(cfg.checkpoint)
    if is_dual_path(given):
        save_folder(*load_dual(load_checkpoint(find_checkpoint(given))), out)
        console().print(f"written to {out}: a folder as the run began with", markup=False, highlight=False)
        return
    assistant = rsmoe.load(cfg.checkpoint, device="cpu")
    assistant.save_pretrained(out)
    model = assistant.run.model
    model.bank.save_adapters(model.names, out)
    for base in (out / "base", *(out / f"{name}-base" for name in model.names)):
        if base.is_dir():
            assistant.run.codec.tokenizer.save_pretrained(base)
    card = out / "README.md"
    write_text(card, card.read_text(encoding="utf-8") + adapters_section(out, model.names))
    written = ", ".join(sorted(path.name for path in out.iterdir()))
    console().print(f"written to {out}: {written}", markup=False, highlight=False, soft_wrap=True)


def adapters_section(folder: Path, names: Sequence[str]) -> str:
    """What the model card says of the adapters, and the commands that serve them.

    Args:
        folder: that holds ``<name>/`` for each of the ``names``.
    """
    lines = [
        "", "## Adapters", "",
        "Each expert is also a LoRA adapter in PEFT's format. What sees the picture, routes and writes the prompts is",
        "in model.safetensors.", "",
        "```python", "from peft import AutoPeftModelForCausalLM", "",
        f'expert = AutoPeftModelForCausalLM.from_pretrained("{names[0]}")', "```", "",
    ]  # fmt: skip
    if (folder / f"{names[0]}-base").is_dir():  # a language model for each: no server of many adapters on one
        return "\n".join(lines)
    config = json.loads((folder / names[0] / "adapter_config.json").read_text(encoding="utf-8"))
    base = "base" if (folder / "base").is_dir() else config["base_model_name_or_path"]
    rank = next((known for known in _RANKS if known >= config["r"]), config["r"])
    modules = " ".join(f"{name}={name}" for name in names)
    lines += [
        "vLLM runs them all on one language model, `rsmoe.serve` before it sees and routes. In this folder:", "",
        "```bash",
        f"vllm serve {base} --served-model-name base --port 8001 --enable-prompt-embeds --enable-lora \\",
        f"    --max-lora-rank {rank} --max-loras {len(names)} --lora-modules {modules}",
        "python -m rsmoe.serve checkpoint=. upstream=http://127.0.0.1:8001/v1", "```", "",
    ]  # fmt: skip
    return "\n".join(lines)


if __name__ == "__main__":
    cli()
