"""Change instructions on generated pairs, whose truth is exact."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rsmoe.checks.ranges import NonNegative, Positive
from rsmoe.data.change.facts import PairFacts
from rsmoe.data.change.instructions import KINDS
from rsmoe.data.change.pairs import ChangePairs
from rsmoe.errors import UserError, require_known
from rsmoe.scenes.pair_store import PairStore
from rsmoe.scenes.rows import refuse_root


class SceneChanges(ChangePairs):
    """ChangeChat's six tasks, and "mask", on pairs of `SceneGenerator`; half of the pairs are unchanged.

    Light, season, haze, noise, vehicles and a shift of a few pixels differ between the dates of every pair and are
    never a change. Counts are of the things themselves, captions those of the generated world. Pairs are
    rendered once and kept on disk, see `PairStore`: all of ``scenes`` at once, else when they are asked for.

    Args:
        root, split, name, seed, size_px, bands: as of `rsmoe.scenes.rows.GeneratedRows`.
        size: number of rows; those of one pair follow one another, and the last pair may be cut.
        scenes: number of pairs of each split, all of whose rows there are; goes before ``size``.
        kinds: of `KINDS` and "mask".
        open_turns: open questions a pair.
        cache: folder of the rendered pairs; None means ``$RSMOE_CACHE``, else ``~/.cache/rsmoe``.

    Raises:
        UserError: a root, no kind or an unknown one, an unknown split, a size or ``scenes`` that is not positive.
    """

    protocol = "generated/"

    def __init__(
        self,
        *,
        root: str | None = None,
        split: str,
        size: Positive = 1200,
        scenes: Mapping[str, Positive] | None = None,
        seed: NonNegative = 0,
        size_px: Positive = 64,
        bands: Positive = 3,
        kinds: Sequence[str] = (*KINDS, "mask"),
        open_turns: NonNegative = 4,
        name: str = "scene_changes",
        cache: str | None = None,
    ) -> None:
        refuse_root(root)
        if scenes is not None:
            require_known(f"split of {name}", split, known=scenes)
        pairs = 0 if scenes is None else scenes[split]
        if max(size, pairs) < 1 or not kinds:
            raise UserError(f"{name}: size={size} and kinds={list(kinds)}; expected at least one row of one kind")
        self._store = PairStore(split=split, size_px=size_px, bands=bands, seed=seed, cache=cache)
        self._store.draw(pairs)
        super().__init__(
            name=name,
            split=split,
            kinds=kinds,
            open_turns=open_turns,
            seed=seed,
            pairs=pairs,
            size=size if scenes is None else None,
        )

    def facts(self, pair: int) -> PairFacts:
        """Of pair ``pair`` of the split."""
        return self._store.facts(pair, source=self.name)
