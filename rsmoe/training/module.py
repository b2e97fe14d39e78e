"""The LightningModule: one stage of a schedule on one model."""

from __future__ import annotations

import math
from fnmatch import fnmatch
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor

from rsmoe.data.batch import Batch
from rsmoe.errors import UserError, unknown_name
from rsmoe.model import RSMoE
from rsmoe.perception import Reading, Sight
from rsmoe.router.losses import balance_loss, label_loss, z_loss
from rsmoe.training.stage import Stage

SEEN = {"words", "change", "change_dice", "cover", "cover_dice"}
"""Losses of perception alone: in a stage that has no other, no language model runs."""


class StageModule(pl.LightningModule):
    """Losses, optimiser and learning rate of one stage.

    Args:
        model: trained in place.
        stage: the stage.
        index: its place in the schedule; part of every seed.
        seed: of the run.
        hparams: plain containers (resolved config, codecs) that a checkpoint must carry to rebuild the model.
    """

    def __init__(self, *, model: RSMoE, stage: Stage, index: int, seed: int, hparams: dict[str, Any]) -> None:
        super().__init__()
        self.model, self.stage, self.index, self.seed = model, stage, index, seed
        self.trace: list[dict[str, Any]] = []
        self.save_hyperparameters({**hparams, "stage": index})

    def on_train_start(self) -> None:
        """Starts the trace of the router anew, unless a checkpoint brought one."""
        if self.trainer.global_step == 0:
            self.trace = []

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Makes dropout a function of (seed, stage, step, rank), and keeps frozen parts in eval mode, and
        batch norms where the stage says so. Sets how often the true maps are told."""
        step = self.trainer.global_step
        torch.manual_seed(hash((self.seed, self.index, step, self.global_rank)) % 2**63)
        for part in self.model.children():
            part.train(any(p.requires_grad for p in part.parameters()))
        first, last = self.stage.told_truth
        for mapped in (self.model.change, self.model.cover):
            if mapped is not None:
                mapped.told_truth = first + (last - first) * step / self.stage.steps
        for norm in self.model.modules() if self.stage.rest_statistics else ():
            if isinstance(norm, torch.nn.modules.batchnorm._BatchNorm):
                norm.eval()

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Weighted sum of the stage's losses; logs each of them and the router's state."""
        step = self.trainer.global_step
        terms = self._seen(batch) if set(self.stage.losses) <= SEEN else self._read(batch, step)
        known = {*terms, *self.optional, *(term for e in self.model.experts for term in e.terms)}
        for name in self.stage.losses:
            if name not in known:
                raise unknown_name("loss", name, known)
        total: Tensor = torch.zeros((), device=batch.pixels.device)
        for name, value in terms.items():
            over = step >= self.stage.losses_until.get(name, self.stage.steps + 1)
            if weight := 0.0 if over else self.stage.losses.get(name, 0.0):
                total = total + weight * value
            self.log(f"train/{name}", value.detach(), batch_size=len(batch))
        if not bool(torch.isfinite(total)):
            named = ", ".join(f"{k}={float(v.detach()):.3g}" for k, v in terms.items())
            first = ", ".join(sample.id for sample in batch.samples[:5])
            raise UserError(
                f"the loss is {float(total.detach())} at step {step} of stage {self.stage.name!r} ({named}). Lower "
                f"schedule.stages.{self.index}.lr (now {self.stage.lr}) or look for NaN in the images of: {first}"
            )
        self.log("train/loss", total.detach(), batch_size=len(batch))
        return {"loss": total}

    optional = (
        "words", "aspect", "label", "balance", "z", "prompt", "mask_bce", "mask_dice", "retrieval",
        "change", "change_dice", "cover", "cover_dice",
    )  # fmt: skip
    """Losses that exist only in some models or batches."""

    def _seen(self, batch: Batch) -> dict[str, Tensor]:
        """A stage of perception alone: no language model runs."""
        if self.model.words is None:
            raise UserError(
                f"stage {self.stage.name!r} has the loss 'words', but the model is built without: words=true"
            )
        sight = self.model.see(batch, told=False)
        return {"words": self.model.words.loss(sight.memory, batch.samples), **self._mapped(batch, sight)}

    def _mapped(self, batch: Batch, sight: Sight) -> dict[str, Tensor]:
        terms: dict[str, Tensor] = {}
        if sight.change is not None and self.model.change is not None:
            terms |= self.model.change.losses(sight.change, batch.class_map[sight.pairs])
        if sight.cover is not None and self.model.cover is not None:
            terms |= self.model.cover.losses(sight.cover, batch.class_map[sight.singles])
        return terms

    def _read(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """Every loss that this batch and this model have, unweighted, by name."""
        model = self.model
        teach = not model.dense and step < self.stage.teach_routes
        reading = model.read(batch, also=model.right[batch.task] if teach else None)
        terms: dict[str, Tensor] = model.fusion.losses(model, batch, reading, smoothing=self.stage.smoothing)
        if not model.dense:
            routing = reading.perception.routing
            terms |= {
                "label": label_loss(routing, model.right[batch.task], batch.task),
                "balance": balance_loss(routing),
                "z": z_loss(routing),
            }
            if step % max(1, self.stage.steps // 100) == 0:
                self._note_routing(batch, reading, step)
        if self.stage.losses.get("words") and model.words is not None:
            terms["words"] = model.words.loss(reading.perception.sight.memory, batch.samples)
        terms |= self._mapped(batch, reading.perception.sight)
        if reading.prompt_loss is not None:
            terms["prompt"] = reading.prompt_loss
        inputs = model.head_inputs(batch, reading)
        for index, expert in enumerate(model.experts):
            if index in inputs:
                terms |= expert.losses(inputs[index], batch)
        return terms

    def _note_routing(self, batch: Batch, reading: Reading, step: int) -> None:
        routing = reading.perception.routing
        p = routing.logits.detach().softmax(-1)
        top = p.argmax(-1)
        self.trace.append(
            {
                "stage": self.index,
                "step": step,
                "entropy": float(-(p * p.clamp_min(1e-12).log()).sum(-1).mean()),
                "accuracy": float(self.model.right[batch.task, top].float().mean()),
                "load": routing.weights.detach().mean(0).tolist(),
            }
        )

    def configure_optimizers(self) -> Any:
        """AdamW over the trainable parameters, grouped by learning rate and decay; warm-up, then cosine."""
        groups: dict[tuple[float, float], list[Tensor]] = {}
        for name, p in self.model.named_parameters():
            if p.requires_grad:
                lr = next((v for k, v in self.stage.lr_groups.items() if fnmatch(name, k)), self.stage.lr)
                groups.setdefault((lr, self.stage.weight_decay if p.ndim > 1 else 0.0), []).append(p)
        if not groups:
            raise UserError(f"stage {self.stage.name!r} trains nothing: train={list(self.stage.train)}")
        optimizer = torch.optim.AdamW(
            [{"params": ps, "lr": lr, "weight_decay": wd} for (lr, wd), ps in groups.items()],
            betas=(0.9, 0.98),
            fused=True,  # a tenth of the time on CPU
        )
        warmup, steps, end = min(self.stage.warmup, self.stage.steps), self.stage.steps, self.stage.lr_end

        def factor(step: int) -> float:
            if step < warmup:
                return (step + 1) / (warmup + 1)
            t = (step - warmup) / max(1, steps - warmup)
            return end + (1 - end) * 0.5 * (1 + math.cos(math.pi * min(1.0, t)))

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds the router's trace."""
        checkpoint["router_trace"] = self.trace

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Takes the router's trace back."""
        self.trace = checkpoint.get("router_trace", [])
