"""Files of predictions, of anyone's model, scored under one protocol."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from rsmoe.errors import UserError
from rsmoe.evaluation.formats.layouts import References, read_predictions, read_references, read_vocabulary
from rsmoe.files import sha256_of_file
from rsmoe.metrics.lookup import find_metric
from rsmoe.metrics.lookup import metrics as known_metrics
from rsmoe.metrics.metric import Metric
from rsmoe.metrics.prediction import Prediction
from rsmoe.metrics.scoring import compare as paired
from rsmoe.metrics.scoring import score
from rsmoe.parts import instantiate


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
    others = dict(metrics or {})
    metric = scorer(protocol, others)
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


def from_release(node: DictConfig, *, tasks: Sequence[str], split: str) -> tuple[References, str]:
    """The samples of a release that a protocol can score, and the prefix of its numbers."""
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


def scorer(protocol: str, others: Mapping[str, Metric]) -> Metric:
    """The metric of a protocol that scores files; `UserError` for one that reads what no file holds."""
    metric = find_metric(protocol, others=others.values())
    if not _scores_files(metric):
        usable = [m.protocol.id for m in [*others.values(), *known_metrics()] if _scores_files(m)]
        raise UserError(f"protocol {protocol!r} does not score files. Use one of: {', '.join(usable)}.")
    return metric


def _scores_files(metric: Metric) -> bool:
    read = set(metric.protocol.fields)
    return bool(metric.protocol.tasks) and bool(read) and not read & {"weights", "change_map"}


@contextmanager
def _named(path: Path, protocol: str) -> Iterator[None]:
    """What a metric cannot compare (masks of another size, kinds it does not know), with the file it came from."""
    try:
        yield
    except UserError:
        raise
    except ValueError as error:
        raise UserError(f"{path} under protocol {protocol}: {error}") from error


def _sha256(path: Path) -> str:
    """Of a file; of a folder, of the names and contents of its files."""
    if path.is_dir():
        own = [f"{p.relative_to(path).as_posix()} {_sha256(p)}" for p in sorted(path.rglob("*")) if p.is_file()]
        return hashlib.sha256("\n".join(own).encode()).hexdigest()
    return sha256_of_file(path)


def _digest(references: References) -> str:
    """Of what a release says, not of its files."""
    rows: Sequence[Any] = [[s.id, s.task, s.kind, list(s.responses)] for s in references.samples]
    return hashlib.sha256(json.dumps(rows, ensure_ascii=False).encode()).hexdigest()
