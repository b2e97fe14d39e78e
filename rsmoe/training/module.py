"""The LightningModule: one stage of a training on one model."""

from __future__ import annotations

import math
from collections.abc import Mapping
from inspect import signature
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.plugins import MixedPrecision
from torch import Tensor

from rsmoe.data.batch import Batch
from rsmoe.data.rasters.mask_sources import UNKNOWN
from rsmoe.errors import UserError
from rsmoe.model import RSMoE
from rsmoe.parts import instantiate, locate
from rsmoe.perception import Reading, Sight
from rsmoe.router.losses import label_loss, z_loss
from rsmoe.settings.stage import Stage
from rsmoe.training.router_state import router_state
from rsmoe.training.stage_checks import learning_rates
from rsmoe.training.stage_losses import of_maps
from rsmoe.training.validation import Means


class StageModule(pl.LightningModule):
    """Losses, optimiser and learning rate of one stage.

    Args:
        model: trained in place.
        stage: the stage.
        index: position among the stages, from 0; the random numbers of a step depend on it.
        seed: of the run.
        hparams: plain containers (resolved config, tokenizers) that a checkpoint needs to rebuild the model.
        optimizer: config of a class of ``torch.optim``; parameters, learning rate and weight decay are added here.
        first_step: optimiser steps of all earlier stages, where the curves of this one begin.
    """

    def __init__(
        self,
        *,
        model: RSMoE,
        stage: Stage,
        index: int,
        seed: int,
        hparams: dict[str, Any],
        optimizer: Mapping[str, Any],
        first_step: int = 0,
    ) -> None:
        super().__init__()
        self.model, self.stage, self.index, self.seed, self.first_step = model, stage, index, seed, first_step
        self._optimizer, self._validated = optimizer, Means()
        self.over = False  # whether a callback ended the stage before its last step
        self.trace: list[dict[str, Any]] = []
        self.began = False  # True once training starts: by then Lightning has restored the checkpoint
        self._micro = 0
        self.save_hyperparameters({**hparams, "stage": index}, logger=False)  # whole tokenizers among them

    def on_train_start(self) -> None:
        """Empties the router's trace, unless the stage was resumed and goes on with that of its checkpoint."""
        self.began = True
        if self.trainer.global_step == 0:
            self.trace = []
            # Lightning counts logged steps from 0 in every fit; ours are one axis over all stages
            self.trainer.fit_loop.epoch_loop._batches_that_stepped = self.first_step

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Seeds dropout by (seed, stage, number of the batch, rank). Puts frozen parts into eval mode, and batch norms
        where the stage freezes their statistics."""
        step = self.trainer.global_step
        every = self.trainer.accumulate_grad_batches
        self._micro = batch_idx % every
        torch.manual_seed(hash((self.seed, self.index, step * every + self._micro, self.global_rank)) % 2**63)
        for part in self.model.children():
            part.train(any(p.requires_grad for p in part.parameters()))
        for norm in self.model.modules() if self.stage.freeze_batch_norm else ():
            if isinstance(norm, torch.nn.modules.batchnorm._BatchNorm):
                norm.eval()

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Weighted sum of the stage's losses; logs each of them and the router's state."""
        step = self.trainer.global_step
        terms = self._terms(batch, step)
        total = self._weighted(terms, step, batch)
        if not bool(torch.isfinite(total)):
            named = ", ".join(f"{k}={float(v.detach()):.3g}" for k, v in terms.items())
            first = ", ".join(sample.id for sample in batch.samples[:5])
            raise UserError(
                f"the loss is {float(total.detach())} at step {step} of stage {self.stage.name!r} ({named}). Lower "
                f"stage.{self.stage.name}.lr (now {self.stage.lr}) or look for NaN in the images of: {first}"
            )
        curves = {name: value.detach() for name, value in (terms | {"loss": total}).items()}
        curves |= {"stage": torch.tensor(float(self.index + 1)), "lr": torch.tensor(self.stage.lr * self._factor(step))}
        for pattern, rate in self.stage.lr_groups.items():
            curves[f"lr/{pattern.removesuffix('.*')}"] = torch.tensor(rate * self._factor(step))
        self.log_dict({f"train/{name}": value for name, value in curves.items()}, batch_size=len(batch))
        return {"loss": total}

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Losses on validation samples, weighted as at the end of the stage."""
        end = self.stage.steps
        terms = self._terms(batch, end)
        if set(terms) & set(self.stage.losses):
            terms = terms | {"loss": self._weighted(terms, end, batch)}
        self._validated.add(terms, len(batch))

    def on_validation_epoch_end(self) -> None:
        """Logs the means over all processes."""
        means = self._validated.take()
        self.log_dict({f"val/{name}": value for name, value in means.items()}, sync_dist=True)

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Logs the norm of the gradients before clipping, in steps that are logged."""
        often: int = self.trainer.log_every_n_steps  # type: ignore[attr-defined]
        if (self.first_step + self.trainer.global_step + 1) % often == 0:
            gradients = [p.grad for p in self.parameters() if p.grad is not None]
            self.log("train/grad_norm", torch.nn.utils.get_total_norm(gradients))

    def _weighted(self, terms: Mapping[str, Tensor], step: int, batch: Batch) -> Tensor:
        total: Tensor = torch.zeros((), device=batch.pixels.device)
        for name, value in terms.items():
            over = step >= self.stage.losses_until.get(name, self.stage.steps + 1)
            if weight := 0.0 if over else self.stage.losses.get(name, 0.0):
                total = total + weight * value
        return total

    def _terms(self, batch: Batch, step: int) -> dict[str, Tensor]:
        if set(self.stage.losses) <= of_maps(self.model):
            return self._map_losses(batch, self.model.see(batch))
        return self._losses(batch, step)

    def _map_losses(self, batch: Batch, sight: Sight) -> dict[str, Tensor]:
        terms: dict[str, Tensor] = {}
        for name, seen in sight.maps.items():
            terms |= self.model.maps[name].losses(seen.evidence, batch.class_map[seen.views])
        return terms

    def _truth(self, batch: Batch, step: int) -> Tensor | None:
        """Teacher forcing of the maps: the true ones (V, H, W) of a random share of the views, 255 elsewhere."""
        first, last = self.stage.teacher_forcing
        share = first + (last - first) * step / self.stage.steps
        if not share:
            return None
        drawn = torch.rand(len(batch.frames), device=batch.frames.device) < share
        return batch.class_map.masked_fill(~drawn[:, None, None], UNKNOWN)

    def _losses(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """Every loss that this batch and this model have, unweighted, by name."""
        model = self.model
        right = model.serves_task[batch.task]
        teach = self.training and not model.dense and step < self.stage.teach_routing_steps
        truth = self._truth(batch, step) if self.training else None
        perception = model.perceive(batch, truth=truth, also=right if teach else None)
        reading = model.read(batch, perception)
        terms: dict[str, Tensor] = model.fusion.losses(model, batch, reading, smoothing=self.stage.smoothing)
        if not model.dense:
            routing = perception.routing
            if (balance := model.router.balance) is not None:
                terms |= {
                    "label": label_loss(routing, right, batch.task),
                    "balance": balance(routing),
                    "z": z_loss(routing),
                }
            terms |= model.bank.losses(reading.gates)
            self._note_routing(batch, reading, step)
        terms |= self._map_losses(batch, perception.sight)
        if reading.prompt_loss is not None:
            terms["prompt"] = reading.prompt_loss
        for index, inputs in model.head_inputs(batch, reading).items():
            if set(model.experts[index].terms) & set(self.stage.losses):  # other heads are not run
                terms |= model.experts[index].losses(inputs, batch)
        return terms

    def _note_routing(self, batch: Batch, reading: Reading, step: int) -> None:
        """Logs the router's state, and records it about a hundred times a stage for the report."""
        state = router_state(reading.perception.routing, self.model.serves_task[batch.task], self.model.names)
        if not self.training:
            self._validated.add(state, len(batch))
            return
        self.log_dict(state, batch_size=len(batch))
        if self._micro == 0 and step % max(1, self.stage.steps // 100) == 0:
            self.trace.append(
                {
                    "stage": self.index,
                    "step": step,
                    "entropy": float(state["router/entropy"]),
                    "accuracy": float(state["router/accuracy"]),
                    "load": [float(state[f"router/load/{name}"]) for name in self.model.names],
                }
            )

    def configure_optimizers(self) -> Any:
        """The optimiser over the trainable parameters, grouped by learning rate and decay; warm-up, then cosine."""
        rates = learning_rates(self.model, self.stage)
        groups: dict[tuple[float, float], list[Tensor]] = {}
        for name, p in self.model.named_parameters():
            if p.requires_grad:
                decay = self.stage.weight_decay if p.ndim > 1 else 0.0
                groups.setdefault((rates.get(name, self.stage.lr), decay), []).append(p)
        if not groups:
            raise UserError(f"stage {self.stage.name!r} trains nothing: train={list(self.stage.train)}")
        node = {"_partial_": True, **self._optimizer}
        # fused takes a tenth of the time on CPU; in mixed precision Lightning cannot clip its gradients
        mixed = self._trainer is not None and isinstance(self.trainer.precision_plugin, MixedPrecision)
        if "fused" in signature(locate(node["_target_"])).parameters and not mixed:
            node = {"fused": True, **node}
        optimizer = instantiate(node)([{"params": ps, "lr": lr, "weight_decay": wd} for (lr, wd), ps in groups.items()])
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self._factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _factor(self, step: int) -> float:
        """Share of the peak learning rate."""
        warmup, steps, end = min(self.stage.warmup, self.stage.steps), self.stage.steps, self.stage.lr_end
        if step < warmup:
            return (step + 1) / (warmup + 1)
        t = (step - warmup) / max(1, steps - warmup)
        return end + (1 - end) * 0.5 * (1 + math.cos(math.pi * min(1.0, t)))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds the router's trace, and whether the stage is over."""
        checkpoint["router_trace"], checkpoint["stage_over"] = self.trace, self.over

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restores the router's trace. A step that was saved in the middle of its accumulated batches starts again with
        the first of them, also with another ``accumulate_grad_batches``."""
        self.trace = checkpoint.get("router_trace", [])
        loop = checkpoint["loops"]["fit_loop"]
        progress = loop["epoch_loop.batch_progress"]
        done = checkpoint["global_step"] * self.trainer.accumulate_grad_batches
        if progress["current"]["ready"] != done:
            for count in (progress["total"], progress["current"]):
                count.update(dict.fromkeys(("ready", "started", "processed", "completed"), done))
            loop["epoch_loop.state_dict"]["_batches_that_stepped"] = self.first_step + checkpoint["global_step"]
