"""``python -m rsmoe.commands.stress checkpoint=...``: robustness to differences between dates without change."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from rsmoe.cli import main
from rsmoe.errors import require_known

if TYPE_CHECKING:
    from omegaconf import DictConfig
    from rich.table import Table

    from rsmoe.data.batch import Batch
    from rsmoe.data.change.facts import PairFacts
    from rsmoe.data.collate import Collate
    from rsmoe.data.sample import Sample
    from rsmoe.data.text_codec import TextCodec
    from rsmoe.data.transforms.perturb import Perturbation
    from rsmoe.metrics.result import Result
    from rsmoe.model import RSMoE


@dataclass(frozen=True, kw_only=True)
class StressTest:
    """Stress test of change models: pairs, perturbations, scores; see ``conf/stress.yaml``."""

    pairs: Sequence[PairFacts]
    """As `stress_pairs` gives them."""
    perturbations: Sequence[Perturbation]
    text: int
    """Pairs that are asked whether something changed and, where they have captions of their own, what."""
    split: str
    prefix: str = ""
    """ "generated/" for generated pairs."""
    batch_size: int = 32
    beams: int = 1
    max_new: int = 40
    draws: int = 1000
    seed: int = 0

    def run(self, model: RSMoE, codec: TextCodec, collate: Collate, *, title: str = "") -> list[dict[str, Any]]:
        """Rows of `Result`, each with "perturbation" and "strength"; the untouched pairs are of strength 0.

        Every pair is seen and its map scored; ``text`` pairs are answered too. The model never gets the class maps.

        Args:
            model: in eval mode.
            codec: of its language model.
            collate: of the model, at inference.
            title: of the progress bar; "" shows none.
        """
        from rich.progress import track

        conditions: list[tuple[Perturbation, float]] = [(self.perturbations[0], 0.0)]
        conditions += [(p, strength) for p in self.perturbations for strength in p.strengths]
        rows = []
        for perturbation, strength in track(conditions, description=title, disable=not title):
            name = perturbation.name if strength else "none"
            for result in self._condition(model, codec, collate, perturbation, strength):
                rows.append({"perturbation": name, "strength": strength, **result.as_dict()})
        return rows

    def _condition(
        self, model: RSMoE, codec: TextCodec, collate: Collate, perturbation: Perturbation, strength: float
    ) -> list[Result]:
        import torch

        from rsmoe.data.change.instructions import instructions
        from rsmoe.data.sampling.spread import spread
        from rsmoe.evaluation.answer import answer_batch
        from rsmoe.evaluation.class_maps import class_maps
        from rsmoe.metrics.change.map_iou import ChangeMapOverlap
        from rsmoe.metrics.prediction import Prediction
        from rsmoe.metrics.scoring import score, tally_results
        from rsmoe.studies.stress_pairs import disturbed

        chosen = set(spread(len(self.pairs), self.text))
        asked: list[Sample] = []
        seen: list[Sample] = []
        for place, facts in enumerate(self.pairs):
            pair = disturbed(facts, perturbation, strength)
            if pair is None:
                continue
            kinds = ["presence", *(["caption"] if facts.captions else [])]
            samples = instructions(pair, kinds=kinds if place in chosen else kinds[:1], seed=self.seed)
            (asked if place in chosen else seen).extend(samples)
        mapped: list[Prediction] = []
        given: list[Prediction] = []
        for part in self._batches(seen if "change" in model.maps else []):
            with torch.no_grad():
                batch = self._batch(model, collate, part)
                found = class_maps(model, model.see(batch), batch)
            mapped += [Prediction(id=s.id, task=s.task, change_map=found[i]["change"]) for i, s in enumerate(part)]
        for part in self._batches(asked):
            batch = self._batch(model, collate, part)
            given += answer_batch(model, codec, batch, beams=self.beams, max_new=self.max_new)
        options: dict[str, Any] = {"split": self.split, "draws": self.draws, "seed": self.seed}
        results = score(asked, given, protocol_prefix=self.prefix, **options) if asked else []
        if "change" in model.maps:
            metric = ChangeMapOverlap()
            tally = metric.tally([*zip(seen, mapped, strict=True), *zip(asked, given, strict=True)])
            assert tally is not None  # every pair has a map
            results += tally_results("change_map", metric, tally, protocol_prefix=self.prefix, **options)
        return results

    def _batches(self, samples: Sequence[Sample]) -> list[Sequence[Sample]]:
        return [samples[i : i + self.batch_size] for i in range(0, len(samples), self.batch_size)]

    def _batch(self, model: RSMoE, collate: Collate, samples: Sequence[Sample]) -> Batch:
        # without the true map, which a temporal module might read
        return collate([(replace(s, class_map=None), self.seed) for s in samples]).to(model.to_lm.weight.device)


def temporal_name(config: Mapping[str, Any]) -> str:
    """What the temporal module of a run is called: "csrm paper", "cross attention", "concat"."""
    node = config["temporal"]
    words = [str(node["_target_"]).split(".")[-2], str(node.get("variant", "")).replace("released", "")]
    return " ".join(filter(None, words)).replace("_", " ")


def _table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """One row per module, disturbance and strength; the metrics of the picture as columns."""
    from rich import box
    from rich.table import Table

    from rsmoe.figures.stress_plot import SHOWN

    shown = [metric for metric in SHOWN if any(row["metric"] == metric for row in rows)]
    table = Table(*("module", "disturbance", "strength"), header_style="bold", box=box.SIMPLE_HEAD)
    for metric in shown:
        table.add_column(SHOWN[metric], justify="right")
    cells: dict[tuple[str, str, float], dict[str, list[float]]] = {}
    for row in rows:
        place = cells.setdefault((row["temporal"], row["perturbation"], row["strength"]), {})
        place.setdefault(row["metric"], []).append(row["value"])
    for (module, name, strength), own in cells.items():
        values = [f"{fmean(own[metric]):.1f}" if metric in own else "" for metric in shown]
        table.add_row(module, name, f"{strength:g}" if strength else "", *values)
    return table


@main("stress")
def cli(cfg: DictConfig) -> None:
    """Tests every checkpoint on the same disturbed pairs; writes metrics.json and curves.png into ``out``."""
    from omegaconf import OmegaConf

    from rsmoe.cli.terminal import console as open_console
    from rsmoe.data.transforms.perturb import PERTURBATIONS
    from rsmoe.device import pick_device
    from rsmoe.evaluation.open_run import open_run
    from rsmoe.figures.stress_plot import plot_stress
    from rsmoe.files import write_text
    from rsmoe.parts import instantiate
    from rsmoe.studies.stress_pairs import stress_pairs
    from rsmoe.training.checkpoints import find_checkpoint

    config: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
    console = open_console(140)
    paths = config["checkpoint"] if isinstance(config["checkpoint"], list) else [config["checkpoint"]]
    out = Path(config["out"])
    checkpoints = [find_checkpoint(Path(str(path))) for path in paths]
    pick_device(config["device"])
    for name in config["perturbations"] or ():
        require_known("perturbation", name, known=PERTURBATIONS)
    dataset = instantiate(config["data"], split=config["split"])
    test = StressTest(
        pairs=stress_pairs(dataset, count=config["pairs"], tile=config["tile"]),
        perturbations=[PERTURBATIONS[name] for name in config["perturbations"] or PERTURBATIONS],
        split=config["split"],
        prefix=str(getattr(dataset, "protocol", "")),
        **{key: config[key] for key in ("text", "batch_size", "beams", "max_new", "draws", "seed")},
    )
    rows: list[dict[str, Any]] = []
    for checkpoint in checkpoints:
        run = open_run(checkpoint, device=config["device"])
        facts = {"temporal": temporal_name(run.config), "seed": run.config["seed"], "checkpoint": str(checkpoint)}
        title = f"{facts['temporal']}, seed {facts['seed']}" if sys.stdout.isatty() else ""
        rows += [facts | row for row in test.run(run.model, run.codec, run.collate, title=title)]
    unchanged = sum(not pair.changed for pair in test.pairs)
    data = {"name": config["data"].get("name", dataset.name), "tile": config["tile"]}
    data |= {"pairs": len(test.pairs), "unchanged": unchanged, "asked": min(config["text"], len(test.pairs))}
    write_text(out / "metrics.json", json.dumps({"data": data, "results": rows}, indent=1) + "\n")
    plot_stress(out / "curves.png", rows)
    console.print(_table(rows))
    console.print(f"{len(test.pairs)} pairs, {unchanged} of them unchanged; everything is in {out}", markup=False)


if __name__ == "__main__":
    cli()
