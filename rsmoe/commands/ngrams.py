"""``python -m rsmoe.commands.ngrams``: how much of generated change captions people have written, and the other way."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rsmoe.cli import main
from rsmoe.data.files.json_text import read_json
from rsmoe.data.readers.annotations import captions_of
from rsmoe.errors import UserError
from rsmoe.metrics.captions.tokenize import whitespace

if TYPE_CHECKING:
    from omegaconf import DictConfig

Gram = tuple[str, ...]
"""An n-gram: its words in order."""
ORDERS = (1, 2, 3, 4)
"""Lengths n of the n-grams that are counted."""


def overlap(captions: Iterable[str], others: Iterable[str]) -> list[dict[str, float]]:
    """One row for n = 1 to 4: the share of the n-grams of ``captions`` that ``others`` hold.

    Returns:
        rows of "n"; "types", of the different n-grams; "tokens", of all n-grams as often as they occur, 0 to 1.
    """
    mine, theirs = ([whitespace(text) for text in texts] for texts in (captions, others))
    rows = []
    for n in ORDERS:
        counts, known = _grams(mine, n), _grams(theirs, n)
        shared = [gram for gram in counts if gram in known]
        rows.append(
            {
                "n": n,
                "types": len(shared) / max(len(counts), 1),
                "tokens": sum(counts[gram] for gram in shared) / max(counts.total(), 1),
            }
        )
    return rows


def missing(captions: Iterable[str], others: Iterable[str], *, n: int, most: int) -> list[tuple[str, int]]:
    """The most frequent n-grams of ``others`` that ``captions`` never say, with their counts."""
    own = _grams([whitespace(text) for text in captions], n)
    theirs = _grams([whitespace(text) for text in others], n)
    return [(" ".join(gram), count) for gram, count in theirs.most_common() if gram not in own][:most]


def real_captions(path: Path) -> list[str]:
    """Captions of changed pairs: of Karpathy's json, or of a json {image: [captions]}.

    Raises:
        UserError: no such file, or one of another layout.
    """
    from rsmoe.data.change.phrases import NO_CHANGE

    try:
        content: Any = read_json(path)
        if isinstance(content.get("images"), list):
            groups = [[sentence["raw"] for sentence in row["sentences"]] for row in content["images"]]
        else:
            groups = [list(captions_of(texts, f"{path.name}, {key!r}")) for key, texts in content.items()]
    except UserError as error:
        raise UserError(f"{error}. Give captions=/path/to/the/json of LEVIR-CC") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path} is no json of captions ({type(error).__name__}: {error}). Expected LEVIR-CC's, or one of "
            "{image: [captions]}"
        ) from error
    same = {tuple(whitespace(text)) for text in NO_CHANGE}
    texts = [text for group in groups for text in group if tuple(whitespace(text)) not in same]
    if not texts:
        raise UserError(f"{path} holds no caption of a change")
    return texts


def _grams(sentences: Sequence[Sequence[str]], n: int) -> Counter[Gram]:
    return Counter(tuple(words[i : i + n]) for words in sentences for i in range(len(words) - n + 1))


@main("ngrams")
def cli(cfg: DictConfig) -> None:
    """Prints both shares; writes them with ``out``."""
    from rich import box
    from rich.table import Table

    from rsmoe.cli.terminal import console as open_console
    from rsmoe.data.readers.annotations import data_root
    from rsmoe.files import write_text
    from rsmoe.scenes.pair_store import PairStore

    path = Path(cfg.captions) if cfg.captions else data_root(cfg.data.root, "levir_cc") / "captions_train_val.json"
    real = real_captions(path)
    store = PairStore(split=cfg.split, size_px=cfg.size_px, seed=cfg.seed)
    pairs = [store.facts(number, source="") for number in range(cfg.pairs)]
    made = [text for pair in pairs if pair.changed for text in pair.captions]
    if not made:
        raise UserError(f"none of {cfg.pairs} generated pairs has changed: give more, pairs=500")
    ours, theirs = overlap(made, real), overlap(real, made)
    table = Table(title=f"{len(made)} generated, {len(real)} real captions of changes", box=box.SIMPLE_HEAD)
    for name in ("n", "generated in real: types", "tokens", "real in generated: types", "tokens"):
        table.add_column(name, justify="right")
    for mine, other in zip(ours, theirs, strict=True):
        shares = [f"{100 * row[key]:.1f} %" for row in (mine, other) for key in ("types", "tokens")]
        table.add_row(str(mine["n"]), *shares)
    console = open_console()
    console.print(table)
    lacking = missing(made, real, n=cfg.show, most=12)
    console.print("never generated: " + ", ".join(f"{gram} ({count})" for gram, count in lacking), markup=False)
    if cfg.out is not None:
        told = {"generated": len(made), "real": len(real), "generated_in_real": ours, "real_in_generated": theirs}
        write_text(Path(cfg.out), json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    cli()
