"""``python -m rsmoe.commands.overlap train=[ucm_captions,rsicd] test=[ucm_captions]``: train-test leakage.

A name is a yaml of ``conf/data``; ``name:split`` says which split, else a training set is its "train" and a test set
its "test". Writes ``overlap.json`` (every pair, the ids that leaked, shared captions) and ``pairs.png``.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rsmoe.cli import main
from rsmoe.errors import UserError, require_known

if TYPE_CHECKING:
    from omegaconf import DictConfig
    from rich.console import Console
    from torch.utils.data import Dataset

    from rsmoe.data.overlap.leakage import Leakage, Pair
    from rsmoe.data.sample import Sample


def overlap(
    *,
    train: Sequence[str],
    test: Sequence[str],
    root: str | None = None,
    threshold: float | None = None,
    folders: Sequence[Path] = (),
    console: Console | None = None,
) -> Leakage:
    """Reads data sets by name and compares them.

    Args:
        train, test: "name" or "name:split".
        root: folder of the only data set, or one that holds each under its own name; None means ``$RSMOE_DATA``.
        threshold: see `rsmoe.data.overlap.near_duplicates.NearDuplicates`; None is its default.
        folders: further config folders, whose ``data/<name>.yaml`` are known too.
        console: where progress is shown; None shows none.

    Raises:
        UserError: an unknown name or split, one that is on both sides, or whatever a reader refuses.
    """
    from rich.progress import track

    from rsmoe.data.overlap.leakage import find_leakage
    from rsmoe.data.overlap.near_duplicates import THRESHOLD

    sides = [
        {f"{name}:{part}": _read(name, part, root, folders) for name, part in _names(words, split)}
        for words, split in ((train, "train"), (test, "test"))
    ]

    def shown(items: Iterable[Any], what: str) -> Iterable[Any]:
        return track(items, f"{what:<28}", console=console, transient=True) if console else items

    return find_leakage(sides[0], sides[1], threshold=THRESHOLD if threshold is None else threshold, track=shown)


def leakage_json(found: Leakage) -> dict[str, Any]:
    """Plain containers: pairs, what leaked of each test set, shared captions, and what could not be compared."""
    tests = dict.fromkeys([*found.captions, *(pair.test.data for pair in found.pairs)])
    return {
        "pictures": found.pictures,
        "leaked": {name: found.leaked(name) for name in tests},
        "captions": {name: dataclasses.asdict(shared) for name, shared in found.captions.items()},
        "unreadable": found.unreadable,
        "pairs": [
            {"kind": p.kind, "score": round(p.score, 4), "symmetry": p.symmetry}
            | {side: {"data": pic.data, "id": pic.id} for side, pic in (("test", p.test), ("train", p.train))}
            for p in found.pairs
        ],
    }


def sheet_pairs(pairs: Sequence[Pair], count: int) -> list[Pair]:
    """The pairs to look at: one of each test picture, near ones first, the least certain before the others."""
    from rsmoe.data.overlap.leakage import KINDS

    best: dict[int, Pair] = {}
    for pair in pairs:  # strongest first
        best.setdefault(id(pair.test), pair)
    return sorted(best.values(), key=lambda p: (-KINDS.index(p.kind), p.score))[:count]


@main("overlap")
def cli(cfg: DictConfig) -> None:
    """Prints the tables and writes ``out``/overlap.json and ``out``/pairs.png."""
    from hydra.core.hydra_config import HydraConfig

    from rsmoe.cli.terminal import console as open_console
    from rsmoe.figures.overlap_sheet import plot_pairs
    from rsmoe.figures.overlap_tables import leakage_tables
    from rsmoe.files import write_text

    started = time.monotonic()
    console = open_console(120)
    train, test = (_words(cfg, side) for side in ("train", "test"))
    out = Path(cfg.out)
    sources = HydraConfig.get().runtime.config_sources
    folders = [Path(s.path) for s in sources if s.schema == "file" and s.provider != "main"]
    found = overlap(
        train=train, test=test, root=cfg.data.root, threshold=cfg.threshold, folders=folders, console=console
    )
    minutes = (time.monotonic() - started) / 60
    header = {"train": train, "test": test, "threshold": cfg.threshold, "minutes": round(minutes, 2)}
    write_text(out / "overlap.json", json.dumps(header | leakage_json(found), indent=1, ensure_ascii=False) + "\n")
    for table in leakage_tables(found, [f"{name}:{part}" for name, part in _names(test, "test")]):
        console.print(table)
    for name, reasons in found.unreadable.items():
        console.print(f"{name}: {len(reasons)} pictures could not be read, first: {reasons[0]}", style="red")
    console.print(f"{sum(found.pictures.values()):,} pictures, {minutes:.1f} minutes; {out / 'overlap.json'}")
    (out / "pairs.png").unlink(missing_ok=True)  # of an earlier run
    if drawn := sheet_pairs(found.pairs, cfg.sheet):
        total = len({id(pair.test) for pair in found.pairs})
        console.print(f"{len(drawn)} of {total} leaked pictures: {plot_pairs(out / 'pairs.png', drawn)}")


def _words(cfg: DictConfig, side: str) -> list[str]:
    return [cfg[side]] if isinstance(cfg[side], str) else list(cfg[side])


def _names(words: Sequence[str], split: str) -> list[tuple[str, str]]:
    """(name, split) of "name" or "name:split"."""
    return [(name, part or split) for name, _, part in (word.partition(":") for word in words)]


def _read(name: str, split: str, root: str | None, folders: Sequence[Path]) -> Dataset[Sample]:
    from omegaconf import OmegaConf

    from rsmoe.checks.yaml_file import check_yaml
    from rsmoe.config import conf_dir
    from rsmoe.parts import instantiate

    known = {path.stem: path for folder in [conf_dir(), *folders] for path in sorted((folder / "data").glob("*.yaml"))}
    require_known("data set", name, known=known)
    check_yaml(known[name])
    node: Any = OmegaConf.to_container(OmegaConf.load(known[name]), resolve=True)
    if root is not None and "root" in node:
        own = Path(root).expanduser() / str(node.get("name", name))
        node["root"] = str(own if own.is_dir() else root)
    try:
        data: Dataset[Sample] = instantiate(node, split=split)
    except UserError as error:
        raise UserError(f"{name}:{split}: {error} (another split: {name}:<split>)") from error
    return data


if __name__ == "__main__":
    cli()
