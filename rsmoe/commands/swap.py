"""``python -m rsmoe.commands.swap checkpoint=...``: does a model say the opposite when the two dates change places?"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rsmoe.cli import main
from rsmoe.errors import UserError

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from rsmoe.data.change.facts import PairFacts
    from rsmoe.data.collate import Collate
    from rsmoe.data.text_codec import TextCodec
    from rsmoe.model import RSMoE

APPEARED = frozenset("appear appears appeared built constructed added new planted risen flooded covers".split())
"""Words of a change caption by which something is there on the later date alone."""
VANISHED = frozenset("removed demolished disappear disappears disappeared vanished vanish cleared gone receded".split())
"""Words of a change caption by which something is there on the earlier date alone."""


def direction(text: str) -> int:
    """Direction of a change caption: 1 for an appearance, -1 for a disappearance, 0 for neither or both."""
    words = re.findall(r"[a-z]+", text.lower())
    balance = sum(word in APPEARED for word in words) - sum(word in VANISHED for word in words)
    return (balance > 0) - (balance < 0)


def swap_rates(
    model: RSMoE, codec: TextCodec, collate: Collate, pairs: Sequence[PairFacts], *, beams: int = 1, max_new: int = 40
) -> dict[str, float]:
    """What becomes of change captions when the dates are swapped, x100.

    - ``right``: share of pairs whose caption has the direction of the references, see `direction`;
    - ``right_swapped``: share of pairs whose caption on swapped dates has the opposite one;
    - ``flipped``: of the captions with a direction, the share whose caption on swapped dates has the opposite one;
    - ``kept``: ... has the same one;
    - ``n``: pairs: changed, and all references of one direction;
    - ``map_right``, ``map_right_swapped``: of the changed pixels that the model's map finds, the share that it calls
      new or lost as they are, and the other way round on swapped dates; where both maps tell new from lost.

    Args:
        model: in eval mode.
        codec: of its language model.
        collate: of the model, at inference.
        pairs: with captions.

    Raises:
        UserError: no pair tells of something that appeared or vanished.
    """
    from rsmoe.data.change.instructions import instructions
    from rsmoe.evaluation.answer import answer_batch

    chosen = []
    for facts in pairs:
        told = {direction(caption) for caption in facts.captions}
        if facts.changed and len(told) == 1 and 0 not in told:
            chosen.append((facts, told.pop()))
    if not chosen:
        raise UserError("no pair with captions of something that appeared or vanished: give more pairs, or other data")
    said: list[list[int]] = []
    on_map = {}
    for name, turn in (("map_right", 1), ("map_right_swapped", -1)):
        found: list[int] = []
        pixels = np.zeros(2)
        for start in range(0, len(chosen), 32):
            samples = [
                replace(s, class_map=None)
                for facts, _ in chosen[start : start + 32]
                for s in instructions(replace(facts, images=facts.images[::turn]), kinds=["caption"], seed=0)
            ]
            batch = collate([(sample, 0) for sample in samples]).to(model.to_lm.weight.device)
            answers = answer_batch(model, codec, batch, beams=beams, max_new=max_new)
            found += [direction(answer.text) for answer in answers]
            pixels += sum(_on_map(f, a.change_map, turn) for (f, _), a in zip(chosen[start:], answers, strict=False))
        said.append(found)
        if pixels[1]:
            on_map[name] = float(100 * pixels[0] / pixels[1])
    true = [way for _, way in chosen]
    told_pairs = [(a, b) for a, b in zip(*said, strict=True) if a]
    return {
        "right": _share([a == t for a, t in zip(said[0], true, strict=True)]),
        "right_swapped": _share([b == -t for b, t in zip(said[1], true, strict=True)]),
        "flipped": _share([b == -a for a, b in told_pairs]),
        "kept": _share([b == a for a, b in told_pairs]),
        "n": float(len(chosen)),
        **on_map,
    }


def _on_map(facts: PairFacts, seen: np.ndarray | None, turn: int) -> np.ndarray:
    """[found pixels whose way is right, found pixels with a way] of one pair."""
    if seen is None or facts.class_map is None:
        return np.zeros(2)
    from rsmoe.data.rasters.images import read_array

    way = np.array([name.startswith("new ") - name.startswith("lost ") for name in facts.classes] or [0])
    true = way[read_array(facts.class_map)]
    told = way[np.minimum(seen, len(way) - 1)]
    both = (true != 0) & (told != 0)
    return np.array([(both & (told == turn * true)).sum(), both.sum()], dtype=np.float64)


def _share(hits: Sequence[bool]) -> float:
    return 100 * sum(hits) / len(hits) if hits else 0.0


@main("swap")
def cli(cfg: DictConfig) -> None:
    """Prints the rates of one checkpoint, and writes them into ``out`` where it is given."""
    from omegaconf import OmegaConf

    from rsmoe.cli.terminal import console as open_console
    from rsmoe.evaluation.open_run import open_run
    from rsmoe.files import write_text
    from rsmoe.parts import instantiate
    from rsmoe.studies.stress_pairs import stress_pairs

    config: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
    run = open_run(Path(str(config["checkpoint"])), device=config["device"])
    dataset = instantiate(config["data"], split=config["split"])
    pairs = stress_pairs(dataset, count=config["pairs"])
    asking = {"beams": config["beams"], "max_new": config["max_new"]}
    rates = swap_rates(run.model, run.codec, run.collate, pairs, **asking)
    protocol = f"{getattr(dataset, 'protocol', '')}change/direction@1"
    lines = [f"{name:14} {value:.1f}" for name, value in rates.items()]
    open_console().print("\n".join([f"dates swapped, protocol {protocol}", *lines]))
    if config["out"]:
        write_text(Path(config["out"]), json.dumps({"protocol": protocol, **rates}, indent=1) + "\n")


if __name__ == "__main__":
    cli()
