"""``python -m rsmoe.commands.contrast recipe=<name>``: corpus -> dual encoder -> retrieval and zero-shot numbers."""

from __future__ import annotations

import resource
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rsmoe.cli import Interrupted, main
from rsmoe.errors import UserError
from rsmoe.launch import prepare_processes

if TYPE_CHECKING:
    from omegaconf import DictConfig


def contrast(config: dict[str, Any], folder: Path) -> None:
    """Trains and measures one resolved config; everything it writes is under ``folder``.

    With ``resume`` the run's own config is taken, and the run goes on in ``folder``.
    """
    prepare_processes(config["trainer"].get("devices", 1))
    from rsmoe.training.curves import ended
    from rsmoe.training.ranks import whole_group

    with ended(), whole_group(folder):
        _contrast(config, folder)


def _contrast(config: dict[str, Any], folder: Path) -> None:
    import torch
    from lightning.pytorch.utilities import rank_zero_only

    from rsmoe.cli.terminal import console as open_console
    from rsmoe.contrast.build import build_dual, fit_codec, text_tokens
    from rsmoe.contrast.fit import fit
    from rsmoe.contrast.open_dual import open_dual
    from rsmoe.data.corpus import build_corpus
    from rsmoe.data.datamodule import RSDataModule
    from rsmoe.data.text_codec import TextCodec
    from rsmoe.evaluation.benchmark import Benchmark
    from rsmoe.evaluation.dual_benchmark import measure
    from rsmoe.settings.contrast import Length
    from rsmoe.training.checkpoints import find_checkpoint, is_dual, load_checkpoint
    from rsmoe.training.curves import open_curves
    from rsmoe.training.ranks import leave_group
    from rsmoe.training.start import start_vision

    started = time.monotonic()
    resume, kept = None, None
    if config["resume"]:
        resume = find_checkpoint(Path(config["resume"]))
        loaded = load_checkpoint(resume)
        if not is_dual(loaded):
            raise UserError(f"resume={resume} is no run of a dual encoder; continue it with rsmoe.train")
        kept, config = TextCodec.from_state(loaded["hyper_parameters"]["codec"]), loaded["hyper_parameters"]["config"]
    console = open_console(120, quiet=bool(rank_zero_only.rank))  # type: ignore[attr-defined]
    root = config["data"]["root"]
    corpus = build_corpus(config["corpus"], root=root, generated=False, console=console)
    # a recipe may name the split of a benchmark that was not chosen
    chosen = {name: node for name, node in (config.get("benchmark") or {}).items() if "reader" in node}
    benchmarks = [Benchmark.from_config(name, node, root=root) for name, node in chosen.items()]
    stage = Length.model_validate(config["stage"]).as_stage()
    codec = kept or fit_codec(config, corpus.captions())
    torch.manual_seed(config["seed"])
    model = build_dual(config, codec)
    if config["start"] and not resume:
        taken, anew = start_vision(model.get_submodule("vision"), load_checkpoint(Path(config["start"])))
        console.print(f"start={config['start']}: {taken} tensors of the vision encoder taken over, {len(anew)} stay")
    data = RSDataModule(
        train=corpus.train, codec=codec, instruction_codec=codec, image_size=config["image_size"], mean=config["mean"],
        std=config["std"], seed=config["seed"], **config["loader"],
    )  # fmt: skip
    millions = sum(p.numel() for p in model.parameters()) / 1e6
    console.print(f"{config['name']}: {millions:.2f} M parameters, {codec.vocab_size} words, into {folder}")
    fit(
        model=model, tokens=text_tokens(model, codec), data=data, stage=stage, captions=config["captions"],
        part=config.get("part"), folder=folder, seed=config["seed"], hparams={"config": config, "codec": codec.state()},
        trainer=config["trainer"], logger=open_curves(config["logger"], folder),
        checkpoint_every=config["checkpoint_every"], optimizer=config["optimizer"], features=config["features"],
        resume=resume,
    )  # fmt: skip
    leave_group()
    if rank_zero_only.rank:  # type: ignore[attr-defined]
        return
    used = sum(usage.ru_utime + usage.ru_stime for usage in map(resource.getrusage, (0, -1)))
    console.print(f"trained in {(time.monotonic() - started) / 60:.1f} minutes, {used / 60:.1f} of this processor")
    opened = open_dual(folder, device="auto")
    for benchmark in benchmarks:
        measure(opened, benchmark, folder / "evaluation" / benchmark.name, console=console, limit=config["limit"],
                draws=config["draws"])  # fmt: skip


@main("contrast")
def cli(cfg: DictConfig) -> None:
    """Hydra's entry: the resolved config is kept in the run folder before anything starts."""
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import OmegaConf

    config: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
    folder = Path(HydraConfig.get().runtime.output_dir)
    (folder / "config.yaml").write_text(OmegaConf.to_yaml(cfg, resolve=True))
    try:
        contrast(config, folder)
    except (KeyboardInterrupt, SystemExit):  # Lightning turns Ctrl-C into an exit
        if not any((folder / "checkpoints").glob("*.ckpt")):
            raise Interrupted("interrupted before the first checkpoint") from None
        raise Interrupted(f"interrupted; the last checkpoint is kept. Continue with: resume={folder}") from None


if __name__ == "__main__":
    cli()
