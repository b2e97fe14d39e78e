"""Experts taken apart: five tables of what each is worth, with paired intervals, and what each table says in words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rsmoe.data.sample import Sample
from rsmoe.errors import require_known, unknown_name
from rsmoe.experts import Bank
from rsmoe.experts.bank import ExpertBank
from rsmoe.metrics.bootstrap import Interval, differences, intervals
from rsmoe.metrics.metric import Metric
from rsmoe.metrics.prediction import Prediction
from rsmoe.metrics.scoring import match, metric_of
from rsmoe.metrics.tally import Tally
from rsmoe.studies.expert_answers import ExpertAnswers

TOGETHER = "together"
"""Row of the mixture beside its experts."""


@dataclass(frozen=True, kw_only=True)
class ExpertTable:
    """Numbers under names of rows and columns, and one sentence."""

    name: str
    title: str
    cells: Mapping[tuple[str, str], Interval]
    """(row, column) -> number; its bounds are nan where it has none."""
    says: str

    def rows(self) -> list[str]:
        """Names of the rows, in order."""
        return list(dict.fromkeys(row for row, _ in self.cells))

    def columns(self) -> list[str]:
        """Names of the columns, in order."""
        return list(dict.fromkeys(column for _, column in self.cells))


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One number of one task."""

    metric: Metric
    number: str
    task: str
    headline: bool
    """Whether it is the score of its task."""

    @classmethod
    def all_of(
        cls,
        samples: Sequence[Sample],
        *,
        scores: Mapping[str, str],
        protocols: Mapping[str, str] | None = None,
        metrics: Mapping[str, Metric] | None = None,
    ) -> dict[str, Measure]:
        """Name -> measure: the score of each task among the samples, then every number of the added metrics.

        Args:
            scores: task -> the number of its protocol that is its score, "cider_d".
            protocols: task -> protocol id, where it is not the task's default.
            metrics: name -> metric beside those of the tasks.

        Raises:
            UserError: a task without a score, or a number that its protocol does not give.
        """
        found, added = {}, dict(metrics or {})
        tasks = list(dict.fromkeys(s.task for s in samples))
        for task in tasks:
            require_known("task in scores", task, known=scores)
            metric, number = metric_of(task, protocols, others=added.values()), scores[task]
            if number not in (known := _numbers(metric, samples, task)):
                raise unknown_name(f"number in scores.{task}, of {metric.protocol.id}", number, known)
            found[f"{task}/{number}"] = cls(metric=metric, number=number, task=task, headline=True)
        for name, metric in added.items():
            for task in (t for t in tasks if t in metric.protocol.tasks):
                for number in _numbers(metric, samples, task):
                    found[f"{name}/{number}"] = cls(metric=metric, number=number, task=task, headline=False)
        return found

    @property
    def lower_is_better(self) -> bool:
        """Whether less is better."""
        return self.number.split("/")[0] in self.metric.lower_is_better

    def scaled(self, found: Mapping[str, Interval]) -> Interval:
        """The number, as it is printed."""
        k, own = self.metric.scale(self.number), found[self.number]
        return Interval(value=k * own.value, low=k * own.low, high=k * own.high)


class ExpertTables:
    """``S_e(t)``: score of task t where expert e answers everything; ``S(t)``: of the mixture; ``S_-e(t)``: without e.

    Intervals are 95 % of a bootstrap over samples; those of differences are paired, on the same draws.

    Args:
        answers: to the same samples in every way.
        measures: of `Measure.all_of`.
        draws, seed: of the bootstrap.
    """

    def __init__(
        self, answers: ExpertAnswers, *, measures: Mapping[str, Measure], draws: int = 1000, seed: int = 0
    ) -> None:
        self.answers, self.names, self.measures = answers, list(answers.alone), measures
        self.scores = {name: measure for name, measure in measures.items() if measure.headline}
        self._draws = {"draws": draws, "seed": seed}

    def alone(self) -> ExpertTable:
        """``S_e(t)`` of every expert e and task t, and ``S(t)`` in the last row."""
        ways = {**self.answers.alone, TOGETHER: self.answers.routed}
        cells = {
            (way, score): measure.scaled(intervals(self._tally(given, measure), **self._draws))
            for way, given in ways.items()
            for score, measure in self.scores.items()
        }
        said = []
        for score in self.scores:
            order = sorted(self.names, key=lambda name: cells[name, score].value)
            parts = [f"{name} {cells[name, score].value:.1f}" for name in (order[-1], order[0], TOGETHER)]
            said.append(f"{score}: {', '.join(parts)}")
        title = "Every expert answers every task: S_e(t)"
        return ExpertTable(name="alone", title=title, cells=cells, says=f"Best, worst, together. {'; '.join(said)}.")

    def without(self) -> ExpertTable:
        """``S_-e(t) - S(t)``: what leaving expert e out changes."""
        cells, missed = {}, []
        for name in self.names:
            for column, measure in self.measures.items():
                rest, routed = (self._tally(p, measure) for p in (self.answers.without[name], self.answers.routed))
                gap = measure.scaled(differences(rest, routed, **self._draws))
                cells[name, column] = gap
                if (gap.low > 0) if measure.lower_is_better else (gap.high < 0):
                    missed.append(f"{name} ({column} {gap.value:+.1f})")
        says = (
            f"Missed, beyond the 95 % interval: {', '.join(missed)}."
            if missed
            else "None is missed beyond the 95 % interval: any single expert can be left out."
        )
        return ExpertTable(name="without", title="One expert left out: S_-e(t) - S(t)", cells=cells, says=says)

    def regret(self) -> ExpertTable:
        """What another choice of experts would have gained, over the samples i of a task.

        - "best expert": ``max_e S_e(t) - S(t)``, against the expert that is best for the task as a whole;
        - "best of each sample": ``mean_i (max_e s_e(i) - s(i))``, ``s_e(i)`` the score of sample i by expert e.

        Both choose by the scores that they report, and the largest of E noisy scores is above their mean even where all
        experts are equal: upper bounds.
        """
        cells, said = {}, []
        for score, measure in self.scores.items():
            sign, number = -1 if measure.lower_is_better else 1, measure.number
            routed = self._tally(self.answers.routed, measure)
            tallies = {name: self._tally(given, measure) for name, given in self.answers.alone.items()}
            best = max(tallies, key=lambda name: sign * tallies[name].values()[number])
            cells[score, "best expert"] = measure.scaled(differences(tallies[best], routed, **self._draws))
            most = np.max([sign * _each(tally, number) for tally in tallies.values()], axis=0)  # (n,)
            lost = _mean(number, most - sign * _each(routed, number))
            cells[score, "best of each sample"] = measure.scaled(intervals(lost, **self._draws))
            said.append(f"{score}: {best} {cells[score, 'best expert'].value:+.1f}")
        title = "What another choice of one expert would gain"
        says = f"The best expert alone, against the mixture. {'; '.join(said)}."
        return ExpertTable(name="regret", title=title, cells=cells, says=says)

    def load(self, experts: Sequence[str]) -> ExpertTable:
        """Mean weight of each expert by task, see `ExpertAnswers.load`; ``experts`` are the model's, in its order."""
        cells, said = {}, []
        for label, shares in self.answers.load.items():
            for name, share in zip(experts, shares, strict=True):
                cells[label, name] = _number(float(share))
            said.append(f"{label}: {', '.join(e for e, share in zip(experts, shares, strict=True) if share >= 0.15)}")
        says = f"With 15 % or more of the weight. {'; '.join(said)}."
        return ExpertTable(name="load", title="Mean weight by task", cells=cells, says=says)

    def _tally(self, given: Sequence[Prediction], measure: Measure) -> Tally:
        tally = measure.metric.tally([(s, p) for s, p in match(self.answers.samples, given) if s.task == measure.task])
        assert tally is not None  # its numbers are known
        return tally


def similarity(bank: Bank, experts: Sequence[str]) -> ExpertTable | None:
    """Cosine of the updates of two experts, all adapted layers l as one vector; None where each has a base of its own.

    ``cos(e, f) = <D_e, D_f> / (|D_e| |D_f|)``, ``D_e`` the matrices ``B_e A_e`` of all layers. The product is taken in
    the ranks, ``<B_e A_e, B_f A_f> = sum((B_e^T B_f) * (A_e A_f^T))``, so that no matrix is formed. 1: the same update;
    0: none in common; nan: an expert that is the base itself.
    """
    if not isinstance(bank, ExpertBank):
        return None
    products = np.zeros((bank.size, bank.size))
    for layer in bank.adapted().values():
        a, b = (factor.detach().cpu().double().numpy() for factor in layer.factors())
        shared = np.einsum("eri,fsi->efrs", a, a) * np.einsum("eor,fos->efrs", b, b)
        products += shared.sum(axis=(-2, -1))
    norm = np.sqrt(np.diag(products))
    with np.errstate(invalid="ignore"):
        cosine = products / np.outer(norm, norm)
    cells = {(e, f): _number(float(cosine[i, j])) for i, e in enumerate(experts) for j, f in enumerate(experts)}
    pairs = [(cosine[i, j], experts[i], experts[j]) for i in range(bank.size) for j in range(i)]
    known = [pair for pair in pairs if math.isfinite(pair[0])]
    says = "No two experts have an update: they are the base."
    if known:
        (high, *most), (low, *least) = max(known), min(known)
        says = f"Most alike: {' and '.join(most)}, {high:.2f}; least: {' and '.join(least)}, {low:.2f}."
    return ExpertTable(name="similarity", title="Cosine of the experts' updates", cells=cells, says=says)


def _numbers(metric: Metric, samples: Sequence[Sample], task: str) -> list[str]:
    """Names of the numbers that a metric gives of the samples of a task: those of empty answers have the same."""
    empty = [(s, Prediction(id=s.id, task=s.task, kind=s.kind)) for s in samples if s.task == task]
    tally = metric.tally(empty)
    counts = ("n", "parse_failures", *metric.hidden)
    return [] if tally is None else [name for name in tally.values() if name.split("/")[0] not in counts]


def _each(tally: Tally, number: str) -> np.ndarray:
    """(n,) the number of each sample alone; 0 where it is undefined."""
    return np.nan_to_num(np.asarray(tally.finish(tally.rows)[number], dtype=np.float64))


def _mean(number: str, values: np.ndarray) -> Tally:
    """The mean of n values, as a number of this name."""
    rows = np.stack([np.ones(len(values)), values], axis=1)
    return Tally(rows=rows, finish=lambda sums: {number: sums[..., 1] / sums[..., 0]})


def _number(value: float) -> Interval:
    return Interval(value=value, low=math.nan, high=math.nan)
