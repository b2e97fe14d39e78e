"""``python -m rsmoe.train experiment=<name>``: corpus -> model -> stages -> evaluation, into one run folder."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rsmoe.cli import Interrupted, main
from rsmoe.cli.typed import config_folder, typed_words
from rsmoe.errors import UserError
from rsmoe.launch import prepare_processes

if TYPE_CHECKING:
    from omegaconf import DictConfig


def train(config: dict[str, Any], folder: Path) -> float | None:
    """Trains and evaluates one resolved config; everything it writes is under ``folder``.

    With ``resume`` the run's own config is taken, see `rsmoe.training.resume.continued`.

    Returns:
        the number that ``objective`` names; None without one, and on all processes but the first.
    """
    words = typed_words()
    if config["resume"]:
        from rsmoe.training.resume import continued_run

        config, words, notes = continued_run(config, words, folder=None if words is None else config_folder())
    else:
        notes = []
    prepare_processes(config["trainer"].get("devices", 1))
    from rsmoe.training.curves import ended
    from rsmoe.training.ranks import whole_group

    with ended(), whole_group(folder):
        return _train(config, folder, typed=words or [], notes=notes)


def _train(config: dict[str, Any], folder: Path, *, typed: Sequence[str], notes: Sequence[str]) -> float | None:
    import torch
    from lightning.pytorch.utilities import rank_zero_only
    from omegaconf import OmegaConf

    from rsmoe.build import build_model, codecs_of, fit_codecs
    from rsmoe.cli.terminal import console as open_console
    from rsmoe.data.corpus import absent_from, build_corpus
    from rsmoe.data.datamodule import RSDataModule
    from rsmoe.data.sampling.dataset_mixture import Mixture
    from rsmoe.data.sampling.part import Part
    from rsmoe.data.sampling.spread import spread
    from rsmoe.evaluation.evaluate_splits import evaluate
    from rsmoe.evaluation.log_results import log_results
    from rsmoe.evaluation.neighbours import image_features
    from rsmoe.evaluation.objective import by_name, check_objective, full_name
    from rsmoe.evaluation.report import baselines, write_report
    from rsmoe.evaluation.run_facts import start_of
    from rsmoe.settings.stage import stages_of
    from rsmoe.training.band_order import check_band_order
    from rsmoe.training.checkpoints import is_dual, load_checkpoint
    from rsmoe.training.curves import open_curves
    from rsmoe.training.ranks import gathered, leave_group
    from rsmoe.training.run import run_stages
    from rsmoe.training.sources import check_sources
    from rsmoe.training.stage_checks import trainable
    from rsmoe.training.start import load_adapters, start_from, start_vision
    from rsmoe.training.validation import Validation

    started = time.monotonic()
    console = open_console(120, quiet=bool(rank_zero_only.rank))  # type: ignore[attr-defined]
    if config["resume"]:
        differs = f", but {', '.join(notes)}" if notes else ""
        console.print(f"resume={config['resume']}: as it was{differs}")
        if not rank_zero_only.rank:  # type: ignore[attr-defined]
            (folder / "config.yaml").write_text(OmegaConf.to_yaml(OmegaConf.create(config)))
    check_sources(config)
    generated = config["world"] == "generated"
    corpus = build_corpus(config["corpus"], root=config["data"]["root"], generated=generated, console=console)
    if config["vision"].get("pretrained"):
        check_band_order(corpus)
    stages = [stage.without(absent_from(corpus, config["corpus"])) for stage in stages_of(config)]
    limit = config["limit"]
    if limit["steps"]:
        stages = [replace(stage, steps=min(stage.steps, limit["steps"])) for stage in stages]
    if limit["samples"]:
        corpus = replace(corpus, train={n: Part(d, most=limit["samples"]) for n, d in corpus.train.items()})
    resume = Path(config["resume"]) if config["resume"] else None
    start = Path(config["start"]) if config["start"] and not resume else None  # what the run began with is in it
    begun = load_checkpoint(resume, weights=False) if resume else None
    start_method = begun["hyper_parameters"].get("start_method", "") if begun else ""
    codec, words = codecs_of(begun) if begun else fit_codecs(config, corpus.texts())
    torch.manual_seed(config["seed"])
    model = build_model(config, codec, words)
    trained = {name for stage in stages if stage.steps for name in trainable(model, stage)}
    taught = {name for name in model.maps if any(p.startswith(f"maps.{name}.") for p in trained)}
    if "land_cover" in taught:
        corpus.check_land_cover(model.maps["land_cover"].names)
    if "change" in taught:
        corpus.check_change()
    kinds = len(model.maps["change"].names) - 1 if "change" in model.maps else 0
    if start:
        loaded = load_checkpoint(start)
        if is_dual(loaded):
            taken, anew = start_vision(model.get_submodule("vision"), loaded)
        else:
            taken, anew = start_from(model, loaded, codec=codec, instruction_codec=words)
        start_method = start_of(loaded)
        of = " of the vision encoder" if is_dual(loaded) else ""
        first = f" ({', '.join(anew[:3])} ...)" if anew else ""
        console.print(f"start={start}: {taken} tensors{of} taken over, {len(anew)} begin anew{first}")
        del loaded
    if config.get("adapters") and not resume:
        load_adapters(model, config["adapters"], stages)
        console.print(f"adapters: {', '.join(f'{name} from {path}' for name, path in config['adapters'].items())}")
    if config["compile"]:
        for name in ("vision", "qformer"):
            model.get_submodule(name).compile(dynamic=True)
    data = RSDataModule(
        train=corpus.train,
        val=corpus.val,
        test=corpus.test,
        codec=codec,
        instruction_codec=words,
        image_size=config["image_size"],
        mean=config["mean"],
        std=config["std"],
        seed=config["seed"],
        **config["loader"],
    )
    evaluation = dict(config["evaluation"])
    neighbours = evaluation.pop("neighbours")
    if config["objective"]:
        asked = {key: evaluation[key] for key in ("splits", "limit", "metrics")}
        check_objective(config["objective"], model=model, data=data, **asked)
    curves = open_curves(config["logger"], folder)
    millions = sum(p.numel() for p in model.parameters()) / 1e6
    console.print(f"{config['name']}: {millions:.2f} M parameters, experts {', '.join(model.names)}, into {folder}")
    trace = run_stages(
        model=model,
        data=data,
        stages=stages,
        folder=folder,
        seed=config["seed"],
        hparams={
            "config": config,
            "words": list(typed),
            "codec": codec.state(),
            "instruction_codec": words.state(),
            "start_method": start_method,
            "dialogues": config["lm"].get("pretrained") is not None or corpus.has_dialogues(),
            "change_classes": corpus.change_classes(kinds=kinds) if kinds else [],
        },
        trainer=config["trainer"],
        logger=curves,
        checkpoint_every=config["checkpoint_every"],
        resume=resume,
        optimizer=config["optimizer"],
        callbacks=config["callback"],
        validation=Validation(**config["validation"]) if config["validation"]["every"] else None,
        features=config.get("features"),
    )
    minutes = (time.monotonic() - started) / 60
    spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    cpu_minutes = sum(s.ru_utime + s.ru_stime for s in spent) / 60
    shares = gathered([cpu_minutes])
    outcomes = evaluate(model=model, codec=codec, data=data, **evaluation)
    pool = Mixture(list(corpus.train.values()))
    learned = [pool[place, 0][0] for place in spread(len(pool), neighbours)]
    features = partial(image_features, model, data.eval_collate, shared=True)
    beside = [baselines(outcome, learned, features=features) for outcome in outcomes]
    leave_group()  # from here on one rank writes
    if rank_zero_only.rank:  # type: ignore[attr-defined]
        return None
    write_report(
        folder,
        outcomes,
        beside,
        model=model,
        trace=trace,
        stages=stages,
        minutes=minutes,
        cpu_minutes=sum(shares),
        processes=len(shares),
        config=config,
        start_method=start_method,
        console=console,
    )
    if curves is not None:
        log_results(curves, folder, outcomes, beside, experts=model.names, step=sum(stage.steps for stage in stages))
    if not config["objective"]:
        return None
    results = by_name(outcomes)
    return results[full_name(config["objective"], results)].value


@main("train")
def cli(cfg: DictConfig) -> float | None:
    """Hydra's entry: the resolved config is kept in the run folder before anything starts."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode
    from omegaconf import OmegaConf

    from rsmoe.config import compose

    cfg = compose(typed_words() or [], extra=config_folder())  # with the words for real data, without idle stages
    config: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
    launcher = str(HydraConfig.get().launcher.get("_target_", ""))
    here = HydraConfig.get().mode == RunMode.MULTIRUN and launcher.endswith(".BasicLauncher")
    if here and config["trainer"].get("devices", 1) != 1:
        raise UserError(
            "a sweep runs its jobs one after another, each in one process: add trainer=cpu or trainer=gpu, give every "
            "run a command of its own, or let SLURM start them: hydra/launcher=submitit_slurm (extra slurm)"
        )
    folder = Path(HydraConfig.get().runtime.output_dir)
    (folder / "config.yaml").write_text(OmegaConf.to_yaml(cfg, resolve=True))
    try:
        return train(config, folder)
    except (KeyboardInterrupt, SystemExit):  # Lightning turns Ctrl-C into an exit
        if int(os.environ.get("LOCAL_RANK", 0)) > 0:
            raise  # one process says it
        if not any((folder / "checkpoints").glob("*.ckpt")):
            raise Interrupted("interrupted before the first checkpoint") from None
        raise Interrupted(f"interrupted; the last checkpoint is kept. Continue with: resume={folder}") from None


if __name__ == "__main__":
    cli()
