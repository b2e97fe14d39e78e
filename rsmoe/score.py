"""``python -m rsmoe.score protocol=... predictions=... references=...``: numbers for anyone's predictions."""

from __future__ import annotations

import hashlib
import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rsmoe.cli import main
from rsmoe.errors import UserError

if TYPE_CHECKING:
    from omegaconf import DictConfig
    from rich.table import Table

    from rsmoe.evaluation.formats.layouts import References
    from rsmoe.metrics.metric import Metric


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
    missing: str = "wrong",
    metrics: Mapping[str, Metric] | None = None,
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
        missing: "wrong": a reference without a prediction counts as answered with nothing; "error": it is refused.
        metrics: name -> metric that was added; of their protocols one may be the chosen one, the others are scored too.
        prefix: "generated/" for generated data.

    Returns:
        protocol, split, results (metric, value, low, high, n, parse_failures; with ``compare`` also "difference",
        "difference_low", "difference_high"), sha256 of every file, missing (of each file of predictions the ids that it
        has no prediction for), and how the intervals were made.

    Raises:
        UserError: unknown protocol, unreadable file, no prediction, or ids that do not match (named).
    """
    from rsmoe.evaluation.formats.layouts import References, read_predictions, read_references, read_vocabulary
    from rsmoe.metrics.prediction import Prediction
    from rsmoe.metrics.scoring import compare as paired
    from rsmoe.metrics.scoring import score

    others = dict(metrics or {})
    metric = _scorer(protocol, others)
    twice = {name for name, own in others.items() if own.protocol.id == metric.protocol.id}
    task = metric.protocol.tasks[0]
    known = references if isinstance(references, References) else read_references(references, task=task, split=split)
    words = known.word_vocabulary() if vocabulary is None else read_vocabulary(vocabulary)
    tasks = {sample.task for sample in known.samples}
    files = {"references": _digest(known) if isinstance(references, References) else _sha256(references)}
    absent: dict[str, list[str]] = {}
    given: dict[str, list[Prediction]] = {}
    for name, path in {"predictions": predictions, "compare": compare}.items():
        if path is None:
            continue
        found = read_predictions(path, known, task=task)
        ids = {prediction.id for prediction in found}
        fillable = missing == "wrong" and ids <= {s.id for s in known.samples}  # else the error names both sides
        lacking = [s for s in known.samples if s.id not in ids] if fillable else []
        given[name] = [*found, *(Prediction(id=s.id, task=s.task, kind=s.kind) for s in lacking)]
        absent |= {name: [s.id for s in lacking]} if lacking else {}
        files[name] = _sha256(path)
    options: dict[str, Any] = {
        "protocols": dict.fromkeys(tasks, metric.protocol.id),
        "metrics": others,
        "vocabulary": words,
        "seed": seed,
    }
    with _named(predictions, metric.protocol.id):
        results = score(
            known.samples, given["predictions"], protocol_prefix=prefix, split=split, draws=draws, **options
        )
    rows = [result.as_dict() for result in results if result.metric.split("/")[0] not in twice]
    if compare is not None:
        with _named(compare, metric.protocol.id):
            gaps = paired(known.samples, given["predictions"], given["compare"], draws=max(draws, 1), **options)
        for row in rows:
            if gap := gaps.get(row["metric"]):
                row |= {"difference": gap.value, "difference_low": gap.low, "difference_high": gap.high}
    return {
        "protocol": prefix + metric.protocol.id,
        "sentence": metric.protocol.sentence,
        "split": split,
        "n": len(known.samples),
        "results": rows,
        "missing": absent,
        "sha256": files,
        "interval": {"method": "percentile bootstrap over samples", "level": 0.95, "draws": draws, "seed": seed},
    }


def _scorer(protocol: str, others: Mapping[str, Metric]) -> Metric:
    """The metric of a protocol that scores files; `UserError` for one that reads what no file holds."""
    from rsmoe.metrics.lookup import find_metric
    from rsmoe.metrics.lookup import metrics as known_metrics

    metric = find_metric(protocol, others=others.values())
    if not _scores_files(metric):
        usable = [m.protocol.id for m in [*others.values(), *known_metrics()] if _scores_files(m)]
        raise UserError(f"protocol {protocol!r} does not score files. Use one of: {', '.join(usable)}.")
    return metric


def _scores_files(metric: Metric) -> bool:
    read = set(metric.protocol.fields)
    return bool(metric.protocol.tasks) and bool(read) and not read & {"weights", "change_map"}


def table(report: dict[str, Any]) -> Table:
    """One row per number, for people."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    title = f"{report['protocol']} on {report['split']}"
    found = Table(title=title, caption=report["sentence"], header_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
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


def from_release(node: DictConfig, *, tasks: Sequence[str], split: str) -> tuple[References, str]:
    """The samples of a release that a protocol can score, and the prefix of its numbers."""
    from rsmoe.evaluation.formats.layouts import References
    from rsmoe.parts import instantiate

    dataset = instantiate(node, split=split)
    samples = [dataset[i] for i in range(len(dataset))]
    samples = [sample for sample in samples if sample.task in tasks]
    if not samples:
        raise UserError(f"data={dataset.name} has no {' or '.join(tasks)} sample in {split!r}")
    images = [sample.images[0] for sample in samples]
    names = {"image": tuple(image.name if isinstance(image, Path) else "" for image in images)}
    for key in ("question_id", "row_id"):  # what the release itself calls its rows
        names[key] = tuple(str(sample.meta.get(key, "")) for sample in samples)
    return References(samples=tuple(samples), names=names), str(getattr(dataset, "protocol", ""))


@main("score")
def cli(cfg: DictConfig) -> None:
    """Prints a table, or json on standard output."""
    from omegaconf import OmegaConf

    from rsmoe.cli.terminal import console as open_console
    from rsmoe.cli.terminal import printable
    from rsmoe.metrics.added import added_metrics

    metrics = added_metrics(OmegaConf.to_container(cfg.evaluation.metrics))  # type: ignore[arg-type]
    tasks = _scorer(str(cfg.protocol), metrics).protocol.tasks
    release = cfg.get("data")
    if (cfg.references is None) == (release is None):
        raise UserError("give the references once: references=file, or data=name of a release")
    prefix = ""
    if release is None:
        references: Path | References = Path(cfg.references)
    else:
        references, prefix = from_release(release, tasks=tasks, split=str(cfg.split))
    report = score_files(
        protocol=str(cfg.protocol),
        predictions=Path(cfg.predictions),
        references=references,
        compare=None if cfg.compare is None else Path(cfg.compare),
        split=str(cfg.split),
        vocabulary=None if cfg.vocabulary is None else Path(cfg.vocabulary),
        draws=cfg.draws,
        seed=cfg.seed,
        missing=cfg.missing,
        metrics=metrics,
        prefix=prefix,
    )
    for name, ids in report["missing"].items():
        some = ", ".join(ids[:5])
        print(
            printable(
                f"warning: {name}: {len(ids)} of {report['n']} references have no prediction ({some}) and count as "
                "answered with nothing, which is wrong; missing=error refuses them"
            ),
            file=sys.stderr,
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
    """Of a file; of a folder, of the names and contents of its files."""
    if path.is_dir():
        own = [f"{p.relative_to(path).as_posix()} {_sha256(p)}" for p in sorted(path.rglob("*")) if p.is_file()]
        return hashlib.sha256("\n".join(own).encode()).hexdigest()
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
