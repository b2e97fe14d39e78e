"""``python -m rsmoe.evaluate checkpoint=runs/... benchmark=<name>``: the numbers of a trained model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rsmoe.cli import Interrupted, main
from rsmoe.errors import UserError
from rsmoe.files import require_writable, sha256_of_file
from rsmoe.weights.starter import STARTER, starter_folder

if TYPE_CHECKING:
    from omegaconf import DictConfig
    from rich.console import Console

    from rsmoe.knowledge.knowledge import Knowledge

_ASKED = ("beams", "max_new", "batch_size", "workers", "limit", "sample_ids", "neighbours", "draws", "pictures")
"""Keys of ``conf/evaluate.yaml`` that `BenchmarkRun` takes as they are."""


def evaluate(config: dict[str, Any]) -> None:
    """Answers and scores every benchmark of a resolved config; what was answered before is not answered again.

    Every rank answers its own part; the first one joins the parts by id, scores them and writes.
    """
    from rsmoe.build import load_run
    from rsmoe.cli.terminal import console as open_console
    from rsmoe.contrast.open_dual import is_dual_path
    from rsmoe.device import pick_device
    from rsmoe.evaluation.benchmark import Benchmark
    from rsmoe.evaluation.benchmark_run import BenchmarkRun, open_ranks
    from rsmoe.evaluation.control_router import with_control
    from rsmoe.training.checkpoints import find_checkpoint, load_checkpoint
    from rsmoe.training.ranks import leave_group

    console = open_console(120)
    if not config.get("benchmark"):
        raise UserError("no benchmark: give benchmark=<name>, or benchmark=[<name>,<name>]; see conf/benchmark")
    pick_device(config["device"])
    if is_dual_path(Path(config["checkpoint"])):
        _evaluate_dual(config, console)
        return
    checkpoint = find_checkpoint(Path(config["checkpoint"]))
    root = config["data"]["root"]
    benchmarks = [Benchmark.from_config(name, node, root=root) for name, node in config["benchmark"].items()]
    router = config.get("router")
    home = Path(config["out"] or default_folder(checkpoint, router, config["knowledge"]))
    knowledge = config["knowledge"] and open_knowledge(config["knowledge"], device=config["device"])
    folders = {b.name: home / b.name for b in benchmarks}
    for folder in [] if config["dry"] else folders.values():
        require_writable(folder, "out=")
    loaded = load_checkpoint(checkpoint)
    ranks = None if config["dry"] else open_ranks(device=config["device"], **config["ranks"])
    model, codec, words = load_run(loaded)
    trained = loaded["hyper_parameters"]["config"]
    if router:
        trained = with_control(model, trained, router, vocab_size=words.vocab_size)
    run = BenchmarkRun(
        model=model if ranks is None else model.to(ranks.device),
        codec=codec,
        instruction_codec=words,
        config=trained,
        start_method=loaded["hyper_parameters"].get("start_method", ""),
        checkpoint=checkpoint,
        checkpoint_sha256=sha256_of_file(checkpoint),
        console=console,
        knowledge=knowledge,
        **{k: config[k] for k in _ASKED},
        metrics=config["evaluation"]["metrics"],
    )
    for benchmark in benchmarks:
        folder = folders[benchmark.name]
        if ranks is None:
            run.show(benchmark, folder)
        else:
            run(benchmark, folder, ranks)
    leave_group()


def _evaluate_dual(config: dict[str, Any], console: Console) -> None:
    """The same for a dual encoder, which decodes nothing: its embeddings take minutes, in one process."""
    from rsmoe.contrast.open_dual import open_dual
    from rsmoe.evaluation.benchmark import Benchmark
    from rsmoe.evaluation.dual_benchmark import measure, show

    if config["knowledge"]:
        raise UserError("knowledge=: a dual encoder answers no question; leave the word out")
    if config.get("router"):
        raise UserError("router=: a dual encoder has none; leave the word out")
    if config["ranks"]["devices"] != 1 or config["ranks"]["num_nodes"] != 1:
        raise UserError("ranks.devices: a dual encoder is asked in one process; leave the word out")
    opened = open_dual(Path(config["checkpoint"]), device=config["device"])
    root = config["data"]["root"]
    benchmarks = [Benchmark.from_config(name, node, root=root) for name, node in config["benchmark"].items()]
    home = Path(config["out"] or default_folder(opened.path))
    for benchmark in benchmarks:
        if config["dry"]:
            show(
                benchmark,
                home / benchmark.name,
                console=console,
                limit=config["limit"],
                sample_ids=config["sample_ids"],
            )
            continue
        require_writable(home / benchmark.name, "out=")
        measure(
            opened, benchmark, home / benchmark.name, console=console, metrics=config["evaluation"]["metrics"],
            **{key: config[key] for key in ("limit", "sample_ids", "batch_size", "draws", "pictures")},
        )  # fmt: skip


def open_knowledge(store: str, *, device: str) -> Knowledge:
    """A store for a number: what is known from a copy of the picture that is asked about is always left out."""
    from rsmoe.knowledge.knowledge import Knowledge

    return Knowledge.open(store, device=device, lookup=False)


def default_folder(checkpoint: Path, router: Mapping[str, Any] | None = None, knowledge: str | None = None) -> Path:
    """Of all benchmarks, beside the checkpoints of a run: ``<run>/evaluation/<checkpoint>``, and with a control in the
    place of its router ``<run>/evaluation/<checkpoint>-<control>``; likewise with a store of knowledge. Of the starter
    it is under ``runs/starter``."""
    home = checkpoint.parent.parent if checkpoint.parent.name == "checkpoints" else checkpoint.parent
    home = Path("runs", STARTER) if home == starter_folder() else home
    control = f"-{router['_target_'].split('.')[-2]}" if router else ""
    return home / "evaluation" / (checkpoint.stem + control + (f"-{Path(knowledge).name}" if knowledge else ""))


@main("evaluate")
def cli(cfg: DictConfig) -> None:
    """Hydra's entry."""
    from omegaconf import OmegaConf

    config: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
    try:
        evaluate(config)
    except KeyboardInterrupt:
        raise Interrupted("interrupted; the answers are kept. Start the same command again to go on") from None


if __name__ == "__main__":
    cli()
