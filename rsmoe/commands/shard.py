"""``python -m rsmoe.commands.shard data=<name> split=train out=<folder>``: a data set as shards, to read or stream."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rsmoe.cli import main

if TYPE_CHECKING:
    from omegaconf import DictConfig


@main("shard")
def cli(cfg: DictConfig) -> None:
    """Writes the shards that are missing, says what there is, and what had to be left out."""
    from omegaconf import OmegaConf
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from rsmoe.cli.terminal import console as open_console
    from rsmoe.data.shards.writer import write_shards
    from rsmoe.parts import instantiate

    config: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
    source = config["data"] | {"split": config["split"]}
    dataset = instantiate(source)
    console = open_console()
    started = time.monotonic()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(f"{dataset.name} {config['split']}, samples", total=len(dataset))
        shards = write_shards(
            dataset=dataset,
            out=Path(config["out"]),
            source=source,
            progress=lambda samples, _: bar.advance(task, samples),
            **{key: config[key] for key in ("shard_size", "seed", "check", "pixels", "processes", "max_bad_fraction")},
        )
    size = sum(shard.size for shard in shards.shards)
    console.print(
        f"{shards.name} {shards.split}: {shards.samples} samples on {shards.views} views in {len(shards.shards)} "
        f"shards of {shards.pixels} pixels, {size / 1e6:.1f} MB, {size / shards.views / 1e3:.1f} kB a view, "
        f"{time.monotonic() - started:.0f} s, into {config['out']}",
        highlight=False,
        soft_wrap=True,
    )
    if shards.samples < len(dataset):
        left = len(dataset) - shards.samples
        console.print(f"{left} samples cannot be read: {config['out']}/{shards.split}.quarantine.jsonl", soft_wrap=True)
    if config["verify"]:
        shards.verify()
        console.print("all shards read back whole")


if __name__ == "__main__":
    cli()
