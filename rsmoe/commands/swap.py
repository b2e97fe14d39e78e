"""``python -m rsmoe.commands.swap checkpoint=...``: does a model say the opposite when the two dates change places?"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rsmoe.cli import main
from rsmoe.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    from omegaconf import DictConfig

    from rsmoe.data.change.facts import PairFacts
    from rsmoe.data.collate import Collate
    from rsmoe.data.sample import Sample
    from rsmoe.data.text_codec import TextCodec
    from rsmoe.metrics.prediction import Prediction
    from rsmoe.model import RSMoE


def swap_rates(
    model: RSMoE, codec: TextCodec, collate: Collate, pairs: Sequence[PairFacts], *, beams: int = 1, max_new: int = 40
) -> dict[str, float]:
    """What becomes of change captions when the dates are swapped, x100.

    - ``right``, ``right_swapped``, ``flipped``, ``kept``, ``n``: see `rsmoe.metrics.change.direction.ChangeDirection`;
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
    import numpy as np

    from rsmoe.data.change.instructions import instructions
    from rsmoe.evaluation.answer import answer_batch
    from rsmoe.metrics.change.direction import SWAPPED, ChangeDirection, direction

    chosen = []
    for facts in pairs:
        told = {direction(caption) for caption in facts.captions}
        if facts.changed and len(told) == 1 and 0 not in told:
            chosen.append(facts)
    if not chosen:
        raise UserError("no pair with captions of something that appeared or vanished: give more pairs, or other data")
    given: list[tuple[Sample, Prediction]] = []
    on_map = {}
    for name, turn in (("map_right", 1), ("map_right_swapped", -1)):
        pixels = np.zeros(2)
        for start in range(0, len(chosen), 32):
            part = chosen[start : start + 32]
            samples = [
                replace(s, class_map=None)
                for facts in part
                for s in instructions(replace(facts, images=facts.images[::turn]), kinds=["caption"], seed=0)
            ]
            batch = collate([(sample, 0) for sample in samples]).to(model.to_lm.weight.device)
            answers = answer_batch(model, codec, batch, beams=beams, max_new=max_new)
            if turn < 0:
                samples = [replace(s, id=f"{s.id}:{SWAPPED}", meta={**s.meta, SWAPPED: s.id}) for s in samples]
            given += zip(samples, answers, strict=True)
            pixels += sum(_on_map(f, a.change_map, turn) for f, a in zip(part, answers, strict=True))
        if pixels[1]:
            on_map[name] = float(100 * pixels[0] / pixels[1])
    tally = ChangeDirection().tally(given)
    assert tally is not None  # every chosen pair has a direction
    rates = tally.values()
    return {name: value if name == "n" else 100 * value for name, value in rates.items()} | on_map


def _on_map(facts: PairFacts, seen: np.ndarray | None, turn: int) -> np.ndarray:
    """[found pixels whose way is right, found pixels with a way] of one pair."""
    import numpy as np

    from rsmoe.data.rasters.images import read_array

    if seen is None or facts.class_map is None:
        return np.zeros(2)
    way = np.array([name.startswith("new ") - name.startswith("lost ") for name in facts.classes] or [0])
    true = way[read_array(facts.class_map)]
    told = way[np.minimum(seen, len(way) - 1)]
    both = (true != 0) & (told != 0)
    return np.array([(both & (told == turn * true)).sum(), both.sum()], dtype=np.float64)


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
