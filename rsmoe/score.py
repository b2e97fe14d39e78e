"""``python -m rsmoe.score protocol=... predictions=... references=...``: numbers for anyone's predictions."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rsmoe.cli import main
from rsmoe.errors import UserError
from rsmoe.metrics.protocols import protocol as named

if TYPE_CHECKING:
    from omegaconf import DictConfig
    from rich.table import Table

    from rsmoe.evaluation.formats.layouts import References


def score_files(
    *,
    protocol: str,
    predictions: Path,
    references: Path | References,
    compare: Path | None = None,
    split: str = "test",
    vocabulary: Path | None = None,
    draws: int = 1000,
    seed: int = 0,
    prefix: str = "",
) -> dict[str, Any]:
    """Scores a file of predictions under one protocol.

    Args:
        protocol: id of a protocol that scores samples.
        predictions, references, compare: files in the layouts of `rsmoe.evaluation.formats.layouts`; references may be
            read.
        split: of a file of references that holds several.
        vocabulary: json {word: id}, for protocols on word ids.
        draws: resampled test sets for the intervals; 0 for none.
        seed: of the draws.
        prefix: "generated/" for generated data.

    Returns:
        protocol, split, results (metric, value, low, high, n, parse_failures; with ``compare`` also "difference",
        "difference_low", "difference_high"), sha256 of every file, and how the intervals were made.

    Raises:
        UserError: unknown protocol, unreadable file, or ids that do not match (named).
    """
    from rsmoe.evaluation.formats.layouts import References, read_predictions, read_references, read_vocabulary
    from rsmoe.metrics.scorers import SCORERS
    from rsmoe.metrics.scoring import compare as paired
    from rsmoe.metrics.scoring import score

    chosen = named(protocol)
    if chosen.id not in SCORERS:
        raise UserError(f"protocol {protocol!r} does not score files. Use one of: {', '.join(SCORERS)}.")
    task = chosen.tasks[0]
    known = references if isinstance(references, References) else read_references(references, task=task, split=split)
    words = known.word_vocabulary() if vocabulary is None else read_vocabulary(vocabulary)
    protocols = {task: chosen.id for task in chosen.tasks}
    options: dict[str, Any] = {"protocols": protocols, "vocabulary": words, "draws": draws, "seed": seed}
    given = read_predictions(predictions, known, task=task)
    with _named(predictions, chosen.id):
        results = score(known.samples, given, protocol_prefix=prefix, split=split, **options)
    rows = [result.as_dict() for result in results]
    files = {"predictions": _sha256(predictions)}
    files["references"] = _digest(known) if isinstance(references, References) else _sha256(references)
    if compare is not None:
        other = read_predictions(compare, known, task=task)
        files["compare"] = _sha256(compare)
        with _named(compare, chosen.id):
            gaps = paired(known.samples, given, other, **options | {"draws": max(draws, 1)})
        for row in rows:
            if gap := gaps.get(row["metric"]):
                row |= {"difference": gap.value, "difference_low": gap.low, "difference_high": gap.high}
    return {
        "protocol": prefix + chosen.id,
        "split": split,
        "n": len(known.samples),
        "results": rows,
        "sha256": files,
        "interval": {"method": "percentile bootstrap over samples", "level": 0.95, "draws": draws, "seed": seed},
    }


def table(report: dict[str, Any]) -> Table:
    """One row per number, for people."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    sentence = named(report["protocol"]).sentence
    title = f"{report['protocol']} on {report['split']}"
    found = Table(title=title, caption=sentence, header_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    compared = any("difference" in row for row in report["results"])
    several = len({row["metric"].split("/")[0] for row in report["results"]}) > 1
    found.add_column("metric", overflow="fold")
    for name in ("value [95 %]", *(("difference [95 %]",) if compared else ()), "n", "unread"):
        found.add_column(Text(name), justify="right", no_wrap=True)
    for row in report["results"]:
        cells = [f"{row['value']:.2f}{_bounds(row, '')}"]
        if compared:
            cells.append(f"{row['difference']:+.2f}{_bounds(row, 'difference_')}" if "difference" in row else "")
        name = row["metric"] if several else row["metric"].split("/", 1)[1]
        found.add_row(Text(name), *map(Text, cells), str(row["n"]), str(row["parse_failures"]))
    return found


def from_release(node: DictConfig, *, protocol: str, split: str) -> tuple[References, str]:
    """The samples of a release that a protocol can score, and the prefix of its numbers."""
    from rsmoe.evaluation.formats.layouts import References
    from rsmoe.parts import instantiate

    dataset = instantiate(node, split=split)
    samples = [dataset[i] for i in range(len(dataset))]
    samples = [sample for sample in samples if sample.task in named(protocol).tasks]
    if not samples:
        raise UserError(f"data={dataset.name} has no {' or '.join(named(protocol).tasks)} sample in {split!r}")
    images = [sample.images[0] for sample in samples]
    names = {"image": tuple(image.name if isinstance(image, Path) else "" for image in images)}
    for key in ("question_id", "row_id"):  # what the release itself calls its rows
        names[key] = tuple(str(sample.meta.get(key, "")) for sample in samples)
    return References(samples=tuple(samples), names=names), str(getattr(dataset, "protocol", ""))


@main("score")
def cli(cfg: DictConfig) -> None:
    """Prints a table, or json on standard output."""
    from rsmoe.cli.terminal import console as open_console

    named(cfg.protocol)
    release = cfg.get("data")
    if (cfg.references is None) == (release is None):
        raise UserError("give the references once: references=file, or data=name of a release")
    prefix = ""
    if release is None:
        references: Path | References = Path(cfg.references)
    else:
        references, prefix = from_release(release, protocol=str(cfg.protocol), split=str(cfg.split))
    report = score_files(
        protocol=str(cfg.protocol),
        predictions=Path(cfg.predictions),
        references=references,
        compare=None if cfg.compare is None else Path(cfg.compare),
        split=str(cfg.split),
        vocabulary=None if cfg.vocabulary is None else Path(cfg.vocabulary),
        draws=cfg.draws,
        seed=cfg.seed,
        prefix=prefix,
    )
    if cfg.json:
        print(json.dumps(_finite(report), indent=2, allow_nan=False))
        return
    console = open_console()
    console.print(table(report))
    for name, digest in report["sha256"].items():
        console.print(f"sha256 of {name}: {digest}", style="dim", highlight=False, soft_wrap=True)


@contextmanager
def _named(path: Path, protocol: str) -> Iterator[None]:
    """What a metric cannot compare (masks of another size, kinds it does not know), with the file it came from."""
    try:
        yield
    except UserError:
        raise
    except ValueError as error:
        raise UserError(f"{path} under protocol {protocol}: {error}") from error


def _bounds(row: dict[str, Any], key: str) -> str:
    low, high = row.get(f"{key}low"), row.get(f"{key}high")
    return "" if low is None or high is None or math.isnan(low) else f" [{low:.2f}, {high:.2f}]"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest(references: References) -> str:
    """Of what a release says, not of its files."""
    rows: Sequence[Any] = [[s.id, s.task, s.kind, list(s.responses)] for s in references.samples]
    return hashlib.sha256(json.dumps(rows, ensure_ascii=False).encode()).hexdigest()


def _finite(value: Any) -> Any:
    """json has no nan: a bound that no draw defines is null."""
    if isinstance(value, dict):
        return {key: _finite(own) for key, own in value.items()}
    if isinstance(value, list):
        return [_finite(own) for own in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


if __name__ == "__main__":
    cli()
