"""Which weights the checkpoints of a run leave out, since they can be had again."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rsmoe.model import RSMoE
from rsmoe.settings.stage import Stage
from rsmoe.training.stage_checks import trainable
from rsmoe.weights.bases import LeftOut, bases_of, megabytes, plain


def left_out(model: RSMoE, stages: Sequence[Stage]) -> list[LeftOut]:
    """Per pretrained part, the tensors that no stage trains and that still are as they were loaded.

    They are compared by their hashes: a model that was started or resumed from a run which had tuned its base keeps it.

    Args:
        model: before it is trained, on any device.
        stages: all of the run, those too that are complete.
    """
    trained: set[str] = set()
    for stage in stages:
        if stage.steps:
            trainable(model, stage)
            every = model.named_parameters(remove_duplicate=False)  # a tied table has two names
            trained |= {_of_all_experts(name) for name, parameter in every if parameter.requires_grad}
    found = []
    for path, (part, base) in bases_of(model).items():
        state = part.state_dict()
        names = [name for name in base.untouched(state) if _of_all_experts(f"{path}.{name}") not in trained]
        if names:
            tensors = {f"{path}.{n}": (base.tensors[plain(n)][0], str(state[n].dtype)) for n in names}
            told = {"name": base.name, "revision": base.revision, "sha256": base.sha256, "bytes": base.bytes}
            found.append(LeftOut(part=path, tensors=tensors, **told))  # type: ignore[arg-type]
    return found


def sizes(model: RSMoE, bases: Sequence[LeftOut]) -> str:
    """What each checkpoint holds, and what it does not, in one line."""
    absent = {name: rows for base in bases for name, (rows, _) in base.tensors.items()}
    kept, left = {}, {}
    for name, value in model.state_dict().items():
        rows = absent.get(name, 0) if value.ndim else absent.get(name, 0) and 1
        share = value.nbytes * min(rows, len(value)) // max(1, len(value)) if value.ndim else value.nbytes * rows
        left[value.data_ptr()], kept[value.data_ptr()] = share, value.nbytes - share  # tied ones are written once
    sources = ", ".join(dict.fromkeys(f"{base.name} ({base.key})" for base in bases))
    return (
        f"checkpoints hold {megabytes(sum(kept.values()))} of weights; {megabytes(sum(left.values()))} that stay as "
        f"they are stay in {sources}, and are taken from there again"
    )


def _of_all_experts(name: str) -> str:
    # upcycling copies a whole language model into those of the other experts
    return re.sub(r"^bank\.banks\.\d+\.", "bank.banks.", name)
