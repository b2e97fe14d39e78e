"""Stages of a training, by name."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Annotated, Any

from annotated_types import Ge, Le, Len, MinLen

from rsmoe.checks.ranges import Fraction
from rsmoe.errors import UserError, require_known
from rsmoe.settings.model import check_fields
from rsmoe.settings.types import BatchSize, Count, Name, NotNegative, Says, Share

Rate = Annotated[float, Ge(0), Le(1000)]


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Name, length, what trains, how fast, on what, with which losses, and what it starts from."""

    name: Name
    """As under ``stage``: ``stage.<name>.steps``."""
    steps: Count
    """Optimiser steps; 0 leaves the stage out."""
    batch_size: BatchSize = 32
    """Draws a batch, over all ranks, each of which takes its share. A batch is a step, unless
    ``trainer.accumulate_grad_batches`` joins several. More devices make it faster, on the same samples in the same
    order (but for ``loader.stream``, whose order belongs to the number of ranks). The rest is not quite the same:
    losses are means over a share and then over shares, so that one which a single rank has counts by that rank's part,
    and what is computed within a batch (batch norm, load balance, the negatives of InfoNCE) sees the share."""
    requests_per_view: Annotated[int, Ge(1), Le(100_000)] = 1
    """1: a draw is a sample. More: a draw is a picture, or a pair, with up to so many requests on it, and a batch holds
    up to ``batch_size`` x ``requests_per_view`` requests."""
    mix: Annotated[Mapping[str, NotNegative], Says("names of data sets with a share from 0 each")] = field(
        default_factory=dict
    )
    """Data set name -> weight of the batches; empty: in proportion to their sizes."""
    single_expert: bool = False
    """Only expert 0 works: the dense model of stage 1."""
    upcycle: bool = False
    """Before the first step, copy expert 0 into every expert (sparse upcycling, arXiv 2212.05055)."""
    train: Annotated[Sequence[Name], MinLen(1), Says("a list of patterns")] = ("*",)
    """Patterns of trainable parameters, see `rsmoe.training.freeze.set_trainable`."""
    freeze_batch_norm: bool = False
    """Batch norms take the statistics they have, in training as at inference: what is read of a picture then does not
    depend on the few others of its batch. For an encoder that goes on learning where it has learned before."""
    teach_routing_steps: Count = 0
    """For so many first steps, the experts of the task's label are added to the router's choice, so that all learn."""
    teacher_forcing: Annotated[
        Sequence[Share], Len(2, 2), Says("two shares from 0 to 1, of the first step and of the end, such as [0.8, 0.0]")
    ] = (0.0, 0.0)
    """Shares of the pictures and pairs whose tokens are made from the true map in place of the predicted one, where it
    is known: at the first step, and at the end, linear in between. Words learn to read a map before there is a good one
    (teacher forcing), and then how far to trust the one that there is (scheduled sampling, arXiv 1506.03099)."""
    lr: Rate = 1e-3
    lr_groups: Annotated[Mapping[str, Rate], Says("patterns with a learning rate from 0 each")] = field(
        default_factory=dict
    )
    """Pattern, in the language of ``train`` -> learning rate, the first that matches; other parameters take ``lr``."""
    warmup: Count = 100
    """Steps of linear warm-up; then cosine to ``lr_end`` of the peak."""
    lr_end: Share = 0.01
    weight_decay: Rate = 0.05
    """On matrices only; vectors and biases have none."""
    smoothing: Fraction = 0.0
    """Label smoothing of the text loss."""
    losses: Annotated[Mapping[str, NotNegative], Says("names of losses with a weight from 0 each")] = field(
        default_factory=lambda: {"text": 1.0}
    )
    """Name -> weight. Losses of maps, heads, prompts and fusion have default weights (``terms``), which a name here
    changes, see `rsmoe.training.stage_losses`; any other that is not named has weight 0."""
    losses_until: Annotated[Mapping[str, Count], Says("names of losses with a step from 0 each")] = field(
        default_factory=dict
    )
    """Name -> step after which that loss is dropped (the router's label cross-entropy during warm-up)."""

    def __post_init__(self) -> None:
        check_fields(self, where=f"stage.{self.name}.")

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Stage:
        """A stage of a yaml; an unknown key lists the known ones."""
        if "name" not in config or "steps" not in config:
            raise UserError(f"stage {config.get('name', '?')!r}: expected a name and steps")
        known = [f.name for f in fields(cls)]
        require_known(f"key under 'stage.{config['name']}'", *map(str, config), known=known)
        return cls(**{**config, "mix": config.get("mix") or {}, "lr_groups": config.get("lr_groups") or {}})

    def without(self, absent: Collection[str]) -> Stage:
        """The stage, its mix without data sets that are not there in this world."""
        return replace(self, mix={name: share for name, share in self.mix.items() if name not in absent})


def stages_of(config: Mapping[str, Any]) -> list[Stage]:
    """The stages of a run, in their order.

    Args:
        config: resolved, of `rsmoe.train`.

    Raises:
        UserError: there is none, one is no mapping, or has a key that is unknown or a value that is wrong.
    """
    nodes = config["stage"]
    if not nodes:
        raise UserError("stage=[]: expected at least one stage, stage=[dense,experts]")
    for name, node in nodes.items():
        if not isinstance(node, Mapping) or node.get("name", name) != name:
            raise UserError(f"stage.{name}={node}: expected a mapping of keys, with name={name}")
    shared = config.get("mix") or {}
    made = {name: {**node, "mix": shared if node.get("mix") is None else node["mix"]} for name, node in nodes.items()}
    return [Stage.from_config({"name": name, **node}) for name, node in made.items()]
