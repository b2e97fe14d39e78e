"""What leaked from training into test, as tables."""

from __future__ import annotations

from collections.abc import Iterable

from rich.table import Table
from rich.text import Text

from rsmoe.data.overlap.leakage import KINDS, Leakage


def leakage_tables(found: Leakage, tests: Iterable[str]) -> list[Table]:
    """Pictures of each test set that lie in training, by training set and kind; and captions, where there are any."""
    pictures = Table("test", "pictures", "found in", *KINDS, "of test", title="Pictures", header_style="bold")
    captions = Table("test", "captions", "in train", "samples", "all in train", title="Captions", header_style="bold")
    for name in tests:
        total = found.pictures.get(name, 0)
        mine = [pair for pair in found.pairs if pair.test.data == name]
        for source in dict.fromkeys(pair.train.data for pair in mine):
            part = Leakage(
                pairs=tuple(p for p in mine if p.train.data == source), pictures={}, unreadable={}, captions={}
            ).leaked(name)
            _row(pictures, name, total, source, part)
        if not mine or len({pair.train.data for pair in mine}) > 1:
            _row(pictures, name, total, "any training set", found.leaked(name))
        if shared := found.captions.get(name):
            captions.add_row(
                Text(name),
                f"{shared.captions:,}",
                f"{shared.shared:,} ({shared.shared / shared.captions:.1%})",
                f"{shared.samples:,}",
                f"{shared.samples_all_shared:,} ({shared.samples_all_shared / shared.samples:.1%})",
            )
    return [pictures, captions] if captions.row_count else [pictures]


def _row(table: Table, name: str, total: int, source: str, leaked: dict[str, list[str]]) -> None:
    counts = [len(ids) for ids in leaked.values()]
    share = f"{sum(counts) / total:.2%}" if total else "–"
    table.add_row(Text(name), f"{total:,}", Text(source), *map(str, counts), share)
