"""Samples and predictions -> numbers: the one place where a `Result` of an evaluation is made."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch

from rsmoe.data.images import read_array
from rsmoe.data.sample import TASKS, Sample
from rsmoe.errors import UserError, unknown_name
from rsmoe.metrics.answers import exact, rsvqa
from rsmoe.metrics.captions import Caption
from rsmoe.metrics.change_captions import ChangeCaptions
from rsmoe.metrics.masks import MaskIoU
from rsmoe.metrics.prediction import Prediction
from rsmoe.metrics.protocols import protocol
from rsmoe.metrics.result import Result
from rsmoe.metrics.retrieval import Retrieval
from rsmoe.metrics.routing import RoutingStats
from rsmoe.metrics.vqa import VQA

DEFAULT_PROTOCOLS = {
    "caption": "caption/coco-whitespace@1",
    "vqa": "vqa/exact@1",
    "change_caption": "change-caption/whitespace@1",
    "mask": "mask/giou@1",
    "retrieval": "retrieval/all-captions@1",
}

Pairs = Sequence[tuple[Sample, Prediction]]


def score(
    samples: Sequence[Sample],
    predictions: Sequence[Prediction],
    *,
    protocol_prefix: str,
    split: str,
    protocols: Mapping[str, str] | None = None,
    expert_tasks: Mapping[str, Sequence[str]] | None = None,
) -> list[Result]:
    """Every metric of every task among the samples, in the order of `TASKS`; values on the scale that papers print.

    Samples of one call form one corpus per task: score datasets one by one. Runs in one process, on all predictions.

    Args:
        samples: of one dataset and split.
        predictions: one per sample, in any order.
        protocol_prefix: `dataset.protocol`: "" or "generated/".
        split: "val", "test" ...
        protocols: task -> protocol id, where it is not the one of `DEFAULT_PROTOCOLS`.
        expert_tasks: expert -> the tasks it serves; given, and with routing weights in the predictions, adds
            "routing/..." results.

    Raises:
        UserError: ids of samples and predictions are not the same set, an id occurs twice, or a protocol is unknown.
    """
    chosen = DEFAULT_PROTOCOLS | dict(protocols or {})
    for task, name in chosen.items():
        if task not in DEFAULT_PROTOCOLS:
            raise unknown_name("task", task, DEFAULT_PROTOCOLS)
        family = DEFAULT_PROTOCOLS[task].split("/")[0]
        if not protocol(name).id.startswith(family + "/") or name not in _SCORERS:
            usable = [p for p in _SCORERS if p.startswith(family + "/")]
            raise UserError(f"protocol {name!r} does not score task {task!r}. Use one of: {', '.join(usable)}.")
    pairs = match(samples, predictions)
    results = []
    for task in TASKS:
        if own := [(s, p) for s, p in pairs if s.task == task]:
            results += _results(task, _SCORERS[chosen[task]](own), protocol_prefix + chosen[task], split)
    routed = [(s, p) for s, p in pairs if p.weights]
    if expert_tasks is not None and routed:
        results += _routing(routed, expert_tasks, protocol_prefix, split)
    return results


def match(samples: Sequence[Sample], predictions: Sequence[Prediction]) -> list[tuple[Sample, Prediction]]:
    """Each sample with its prediction, by id; raises `UserError` naming ids that are missing, unknown or doubled."""
    by_id = {p.id: p for p in predictions}
    ids = [s.id for s in samples]
    problems = {
        "samples without a prediction": set(ids) - set(by_id),
        "predictions without a sample": set(by_id) - set(ids),
        "sample ids that occur twice": _doubled(ids),
        "prediction ids that occur twice": _doubled([p.id for p in predictions]),
    }
    found = [f"{len(v)} {k} ({', '.join(sorted(v)[:5])})" for k, v in problems.items() if v]
    if found:
        raise UserError(
            f"{len(ids)} samples and {len(predictions)} predictions do not match: {'; '.join(found)}. "
            "Give one prediction per sample, an empty one where the model failed."
        )
    return [(s, by_id[s.id]) for s in samples]


def _doubled(ids: Sequence[str]) -> set[str]:
    seen: set[str] = set()
    return {i for i in ids if i in seen or seen.add(i)}  # type: ignore[func-returns-value]


_HIDDEN = ("n", "parse_failures", "n_texts")


def _results(family: str, values: dict[str, float], protocol_id: str, split: str) -> list[Result]:
    """x100; a metric "bleu4/changed" takes its counts from "n/changed" where the metric has them."""
    results = []
    for name, value in values.items():
        if name.split("/")[0] in _HIDDEN:
            continue
        part = name.split("/")[-1]
        n = values.get(f"n/{part}", values["n"])
        failures = values.get(f"parse_failures/{part}", values.get("parse_failures", 0.0))
        results.append(
            Result(
                metric=f"{family}/{name}",
                value=100.0 * value,
                protocol=protocol_id,
                split=split,
                n=int(n),
                parse_failures=int(failures),
            )
        )
    return results


def _caption(tokenize: str) -> Callable[[Pairs], dict[str, float]]:
    def run(pairs: Pairs) -> dict[str, float]:
        metric = Caption(tokenize=tokenize, sync_on_compute=False)
        metric.update([p.text for _, p in pairs], [s.responses for s, _ in pairs])
        return metric.compute()

    return run


def _change(tokenize: str) -> Callable[[Pairs], dict[str, float]]:
    def run(pairs: Pairs) -> dict[str, float]:
        metric = ChangeCaptions(tokenize=tokenize, sync_on_compute=False)
        metric.update([p.text for _, p in pairs], [s.responses for s, _ in pairs], [s.kind for s, _ in pairs])
        return metric.compute()

    return run


def _vqa(pairs: Pairs, same: Callable[[str, str, str], bool]) -> dict[str, float]:
    metric = VQA(same=same, sync_on_compute=False)
    metric.update([p.text for _, p in pairs], [s.responses for s, _ in pairs], [s.kind for s, _ in pairs])
    return metric.compute()


def _mask(pairs: Pairs) -> dict[str, float]:
    targets = []
    for sample, _ in pairs:
        if sample.mask is None:
            raise ValueError(f"sample {sample.id!r} is of task 'mask' and has no mask")
        targets.append(read_array(sample.mask))
    metric = MaskIoU(sync_on_compute=False)
    metric.update([p.mask for _, p in pairs], targets)
    return metric.compute()


def _retrieval(pairs: Pairs) -> dict[str, float]:
    given = (e for _, p in pairs for e in (p.image_embedding, p.text_embeddings) if e is not None)
    width = next((e.shape[-1] for e in given), 1)
    images, texts, owners = [], [], []
    for sample, prediction in pairs:
        image, text = prediction.image_embedding, prediction.text_embeddings
        images.append(np.zeros(width) if image is None else image)
        texts.append(np.zeros((len(sample.responses), width)) if text is None else text)
        owners += [sample.id] * len(texts[-1])
    metric = Retrieval(sync_on_compute=False)
    metric.update(
        torch.from_numpy(np.stack(images)), [s.id for s, _ in pairs], torch.from_numpy(np.concatenate(texts)), owners
    )
    return metric.compute()


def _routing(pairs: Pairs, expert_tasks: Mapping[str, Sequence[str]], protocol_prefix: str, split: str) -> list[Result]:
    experts = pairs[0][1].experts
    for expert in experts:
        if expert not in expert_tasks:
            raise unknown_name("expert", expert, expert_tasks)
    metric = RoutingStats(experts=experts, expert_tasks=[expert_tasks[e] for e in experts], sync_on_compute=False)
    metric.update(
        torch.tensor([p.weights for _, p in pairs], dtype=torch.float64),
        torch.tensor([TASKS.index(s.task) for s, _ in pairs]),
    )
    values = metric.compute()
    for name in ("entropy", "mutual_information"):  # nats: their normalised twins are what a table can compare
        del values[name]
    values["load_cv"] /= 100.0  # a ratio, not a share: it stays as it is
    return _results("routing", values, protocol_prefix + "routing/task@1", split)


_SCORERS: dict[str, Callable[[Pairs], dict[str, float]]] = {
    "caption/coco-whitespace@1": _caption("whitespace"),
    "caption/coco-ptb@1": _caption("ptb"),
    "change-caption/whitespace@1": _change("whitespace"),
    "change-caption/ptb@1": _change("ptb"),
    "vqa/exact@1": lambda pairs: _vqa(pairs, exact),
    "vqa/rsvqa@1": lambda pairs: _vqa(pairs, rsvqa),
    "mask/giou@1": _mask,
    "retrieval/all-captions@1": _retrieval,
}
