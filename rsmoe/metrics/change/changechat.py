"""ChangeChat's questions, each by what it asks for."""

from __future__ import annotations

import numpy as np

from rsmoe.metrics.answers.free_text import FreeText
from rsmoe.metrics.change.cells_f1 import ChangeCells
from rsmoe.metrics.change.counts import ChangeCounts
from rsmoe.metrics.change.presence import ChangePresence
from rsmoe.metrics.change.targets import CHANGECHAT
from rsmoe.metrics.metric import Metric, Pairs, Protocol
from rsmoe.metrics.tally import Tally, beside

_PARTS: dict[str, Metric] = {
    "presence": ChangePresence(),
    "count": ChangeCounts(),
    "location": ChangeCells(),
    "text": FreeText(),
}


class ChangeChat(Metric):
    """Numbers of each sort of question as "<number>/<sort>", free text where ``Sample.meta["asks"]`` names no sort."""

    protocol = Protocol(
        id="change-vqa/changechat@1",
        title="ChangeChat's questions",
        tasks=("change_vqa",),
        sentence="Each question by what it asks for: change/presence@1, change/counts@1, change/cells@1, and "
        "vqa/free-text@1 for all others.",
        source=CHANGECHAT + "; question types, the scoring is ours",
    )
    unscaled = frozenset().union(*(part.unscaled for part in _PARTS.values()))
    lower_is_better = frozenset().union(*(part.lower_is_better for part in _PARTS.values()))

    def tally(self, pairs: Pairs) -> Tally:
        """One row a question."""
        groups: dict[str, list[int]] = {}
        for i, (sample, _) in enumerate(pairs):
            asks = sample.meta.get("asks", "")
            groups.setdefault(asks if asks in _PARTS else "text", []).append(i)
        tallies = []
        for name, places in sorted(groups.items()):
            own = _PARTS[name].tally([pairs[i] for i in places])
            assert own is not None
            tallies.append(own.part(name, places, len(pairs)))
        together = beside(*tallies)

        def finish(sums: np.ndarray) -> dict[str, np.ndarray]:
            found = together.finish(sums)
            total = {key: sum(found[f"{key}/{name}"] for name in groups) for key in ("n", "parse_failures")}
            return {**found, **{key: np.asarray(value) for key, value in total.items()}}

        return Tally(rows=together.rows, finish=finish)
