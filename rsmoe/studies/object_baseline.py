"""Objects by class name beside a feature pyramid without words: the same encoder, crops and optimiser.

``python -m rsmoe.studies.object_baseline runs/nwpu_objects/... --steps 600 --split test`` trains, with the run's
config, a plain FPN with a channel a class, whose masks fall apart into components as those of the run do, and prints
masks and boxes of both, with differences and their 95 % intervals, paired over pictures. ``--steps`` is chosen so that
both take the same processor minutes.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn import functional as F

from rsmoe.data.batch import Batch
from rsmoe.data.corpus import build_corpus
from rsmoe.data.datamodule import RSDataModule
from rsmoe.data.rasters.images import images_key
from rsmoe.data.sample import Sample
from rsmoe.evaluation.answer import answer_batch
from rsmoe.evaluation.class_maps import picture_sizes
from rsmoe.evaluation.open_run import OpenRun, collate_options, open_run
from rsmoe.experts.instances import located
from rsmoe.experts.seg import pixel_bce, soft_dice
from rsmoe.maps.decoder import PyramidDecoder, resized
from rsmoe.metrics import Metric, Prediction, Tally
from rsmoe.metrics.bootstrap import differences
from rsmoe.metrics.regions.instance_masks import InstanceMasks
from rsmoe.metrics.regions.masks import MaskIoU
from rsmoe.metrics.regions.object_boxes import ObjectBoxes
from rsmoe.parts import instantiate
from rsmoe.training.freeze import set_trainable

METRICS: Sequence[tuple[Metric, Sequence[str]]] = (
    (MaskIoU(), ("miou",)),
    (ObjectBoxes(), ("acc@0.5", "acc@0.7", "ap@0.5")),
    (InstanceMasks(), ("miou", "f1@0.5")),
)


class FPN(nn.Module):
    """An encoder, `PyramidDecoder` and a channel a class."""

    def __init__(self, *, config: Mapping[str, Any], classes: Sequence[str]) -> None:
        super().__init__()
        self.vision = instantiate(config["vision"], bands=config["bands"]).to(memory_format=torch.channels_last)
        self.classes = list(classes)
        width = config["expert"]["objects"]["width"]
        self.decoder = PyramidDecoder(widths=self.vision.pyramid_widths, channels=width, finest_kernel=1)
        self.logits = nn.Conv2d(width, len(classes), 1)
        assert self.logits.bias is not None
        nn.init.constant_(self.logits.bias, -3.0)

    def forward(self, batch: Batch) -> Tensor:
        """(B, h, w) logits of the class that each request names."""
        pixels = batch.pixels[:, 0].contiguous(memory_format=torch.channels_last)
        found = self.logits(self.decoder(self.vision(pixels).pyramid))  # (V, K, h, w)
        channel = torch.tensor([self.classes.index(sample.kind) for sample in batch.samples])
        out: Tensor = found[batch.view, channel]
        return out

    def loss(self, batch: Batch, terms: Mapping[str, float]) -> Tensor:
        """Cross-entropy and dice as of `rsmoe.experts.objects.ObjectsExpert`."""
        logits, marked = self(batch), batch.masks.flatten(1).any(1).float()
        covered = F.adaptive_avg_pool2d((batch.masks > 0).float(), tuple(logits.shape[1:]))
        dice = (soft_dice(logits, covered) * marked).sum() / marked.sum().clamp_min(1)
        return terms["object_bce"] * pixel_bce(logits, covered).mean() + terms["object_dice"] * dice


def train(module: FPN, data: RSDataModule, run: OpenRun, *, steps: int, seed: int) -> float:
    """Trains as the stage of the run did; processor minutes."""
    stage = run.config["stage"]["dense"]
    terms = run.model.experts[0].terms
    set_trainable(module, ["*", *(pattern for pattern in stage["train"] if "vision" in pattern)])
    slow = [p for name, p in module.named_parameters() if p.requires_grad and name.startswith("vision.")]
    fast = [p for name, p in module.named_parameters() if p.requires_grad and not name.startswith("vision.")]
    rates = (stage["lr_groups"]["vision"], stage["lr"])
    groups = [{"params": own, "lr": rate} for own, rate in zip((slow, fast), rates, strict=True)]
    optimizer = torch.optim.AdamW(groups, weight_decay=0.05, fused=True)
    warmup = stage["warmup"]

    def factor(step: int) -> float:
        return min((step + 1) / (warmup + 1), 0.5 + 0.5 * math.cos(math.pi * max(0, step - warmup) / (steps - warmup)))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    started = time.process_time()
    module.train()
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d) and stage["freeze_batch_norm"]:
            norm.eval()
    per_view, size = stage["requests_per_view"], stage["batch_size"]
    for batch in data.train_loader(batch_size=size, steps=steps, per_view=per_view):
        loss = module.loss(batch, terms)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    module.eval()
    return (time.process_time() - started) / 60


@torch.no_grad()
def answers(run: OpenRun, module: FPN, batches: Sequence[Batch]) -> tuple[list[Sample], dict[str, list[Prediction]]]:
    """Predictions of the run and of the FPN."""
    said: dict[str, list[Prediction]] = {"words": [], "FPN": []}
    samples: list[Sample] = []
    for batch in batches:
        own = answer_batch(run.model, run.codec, batch, beams=1, max_new=run.config["evaluation"]["max_new"])
        said["words"] += own
        samples += batch.samples
        logits = module(batch)
        for place, (one, size) in enumerate(zip(own, picture_sizes(batch), strict=True)):
            share = resized(logits[place][None, None], size)[0, 0].sigmoid().numpy()
            said["FPN"].append(replace(one, **located(share)))
    return samples, said


def by_picture(tally: Tally, samples: Sequence[Sample]) -> Tally:
    """One row a picture: requests on one picture are drawn together."""
    keys = [images_key(sample) for sample in samples]
    first = {key: place for place, key in enumerate(dict.fromkeys(keys))}
    rows = np.zeros((len(first), tally.rows.shape[1]))
    np.add.at(rows, [first[key] for key in keys], tally.rows)
    return Tally(rows=rows, finish=tally.finish)


def main() -> None:
    """Trains the FPN and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--steps", type=int, required=True, help="of the FPN")
    parser.add_argument("--split", choices=("val", "test"), default="val")
    parser.add_argument("--weights", type=Path, help="of the FPN: read where they are there, else written")
    given = parser.parse_args()
    console, run = Console(width=160), open_run(given.run, device="cpu")
    config, seed = run.config, run.config["seed"]
    corpus = build_corpus(config["corpus"], root=config["data"]["root"], generated=False, console=console)
    options = collate_options(config)
    sizes = {key: options.pop(key) for key in ("image_size", "mean", "std")}
    data = RSDataModule(
        train=corpus.train, val=corpus.val, test=corpus.test, codec=run.codec,
        instruction_codec=run.collate.instruction_codec, seed=seed, collate=options, eval_batch_size=8, **sizes,
    )  # fmt: skip
    (train_set,) = corpus.train.values()
    classes = sorted({train_set[i].kind for i in range(len(train_set))})  # type: ignore[arg-type]
    torch.manual_seed(seed)
    module = FPN(config=config, classes=classes)
    if given.weights is not None and given.weights.is_file():
        module.load_state_dict(torch.load(given.weights, weights_only=True))
        module.eval()
    else:
        console.print(f"FPN: {train(module, data, run, steps=given.steps, seed=seed):.1f} processor minutes")
        if given.weights is not None:
            torch.save(module.state_dict(), given.weights)
    samples, said = answers(run, module, list(data.eval_loader(given.split)))
    table = Table("", *(f"{m.protocol.id.split('@')[0]} {name}" for m, names in METRICS for name in names))
    for name, predictions in said.items():
        cells = []
        for metric, names in METRICS:
            mine, theirs = (metric.tally(list(zip(samples, own, strict=True))) for own in (predictions, said["FPN"]))
            assert mine is not None and theirs is not None
            gaps = differences(by_picture(mine, samples), by_picture(theirs, samples), draws=2000)
            for key in names:
                gap = "" if name == "FPN" else " {:+.1f} [{:.1f}, {:.1f}]".format(
                    *(100 * value for value in (gaps[key].value, gaps[key].low, gaps[key].high))
                )  # fmt: skip
                cells.append(f"{100 * mine.values()[key]:.1f}{gap}")
        table.add_row(name, *cells)
    console.print(table)


if __name__ == "__main__":
    main()
