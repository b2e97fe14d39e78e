"""Which losses, with which weights, a stage has on the model that it trains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from rsmoe.errors import UserError, unknown_name
from rsmoe.experts import Bank
from rsmoe.experts.expert import Expert
from rsmoe.generation import Fusion
from rsmoe.model import RSMoE
from rsmoe.router import PromptWriter
from rsmoe.settings.stage import Stage

ROUTING = ("label", "balance", "z")
"""Losses of the router. A model with one adapter has none of them, nor one whose router learns nothing."""


def of_maps(model: RSMoE) -> set[str]:
    """Losses of the maps: in a stage that has no other, no language model runs."""
    return set().union(*(part.terms for part in model.maps.values()))


def with_losses(model: RSMoE, stage: Stage, trained: Sequence[str]) -> Stage:
    """The stage with the weights of all its losses.

    A part of the model has losses with default weights, its ``terms``. Those of a map count in stages that train it;
    those of experts' heads in stages with a text loss; those of bank, prompts and fusion in stages with a text loss and
    several experts. ``stage.<name>.losses`` adds the losses of text and router, and changes the defaults. In a dense
    twin (``moe=none``), and with a router that learns nothing (``router=uniform``), losses of the router are ignored.

    Args:
        trained: names of the parameters that the stage trains.

    Raises:
        UserError: a loss that there is not, or that this model or this stage cannot have; a setting that has no effect.
    """
    text, several = bool(stage.losses.get("text")), model.bank.size > 1 and not stage.single_expert
    learns = model.bank.size > 1 and model.router.balance is not None
    counted: dict[str, float] = {}
    possible = {"text", *(ROUTING if several and learns else ())}
    for name, module in model.maps.items():
        possible |= set(module.terms)
        counted |= module.terms if any(p.startswith(f"maps.{name}.") for p in trained) else {}
    parts: list[tuple[Fusion | PromptWriter | Bank | Expert, bool]] = [
        (model.fusion, several),
        (model.bank, several),
        (model.prompts, several),
        *((e, True) for e in model.experts),
    ]
    for part, here in parts:
        possible |= set(part.terms)
        counted |= part.terms if text and here else {}
    skipped = () if learns else ROUTING
    given = {name: weight for name, weight in stage.losses.items() if name not in skipped}
    until = {name: step for name, step in stage.losses_until.items() if name not in skipped}
    for name, weight in given.items():
        if name not in possible:
            raise _no_loss(stage, f"losses.{name}={weight}", name, possible)
    losses = {name: weight for name, weight in (counted | given).items() if weight}
    for name, step in until.items():
        if name not in losses:
            raise _no_loss(stage, f"losses_until.{name}={step}", name, losses)
    if not losses:
        raise UserError(
            f"stage {stage.name!r} has no loss that this model knows (losses: {dict(stage.losses)}): give one a "
            f"weight, or leave the stage out with 0 steps"
        )
    if any(stage.teacher_forcing) and not (text and len(model.maps)):
        raise _no_effect(stage, "teacher_forcing", list(stage.teacher_forcing), "no map of this model", "[0.0,0.0]")
    if stage.teach_routing_steps and stage.single_expert:
        raise _no_effect(stage, "teach_routing_steps", stage.teach_routing_steps, "no router, with one expert", "0")
    if stage.smoothing and not text:
        raise _no_effect(stage, "smoothing", stage.smoothing, "no loss of text", "0.0")
    taught = stage.teach_routing_steps if learns else 0
    return replace(stage, losses=losses, losses_until=until, teach_routing_steps=taught)


def _no_loss(stage: Stage, given: str, name: str, known: Sequence[str] | set[str] | Mapping[str, float]) -> UserError:
    key = given.partition("=")[0]
    return UserError(
        f"stage.{stage.name}.{given}: {unknown_name('loss', name, known)} Others are not in this model, or not in this "
        f"stage. To take it out: '~stage.{stage.name}.{key}'"
    )


def _no_effect(stage: Stage, key: str, value: object, why: str, instead: str) -> UserError:
    return UserError(
        f"stage.{stage.name}.{key}={value} has no effect: there is {why}. Give stage.{stage.name}.{key}={instead}"
    )
