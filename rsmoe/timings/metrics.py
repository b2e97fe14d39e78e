"""Caption scores here and by pycocoevalcap, in one run: ``python -m rsmoe.timings.metrics golden=FOLDER``.

FOLDER holds ``caption_rsicd_val.json`` ({"hypotheses": {image: text}, "references": {image: [text]}}); a path to such a
file will do. Without it the captions are made up: 1,094 images with 5 references, as in the validation split of RSICD.

Both score the same whitespace tokens, so that no tokenizer is measured:

- without METEOR: BLEU-1..4, ROUGE-L and CIDEr-D; at least `RATIO` times faster than pycocoevalcap;
- METEOR: exact and stem modules here; at most `METEOR_SECONDS`. The Java program aligns paraphrases too, and is run
  with ``java=true`` only.

Seconds are those of the processor, the least of several turns; memory is the peak that Python allocates, from a turn of
its own. Needs ``pip install pycocoevalcap==1.2``.
"""

from __future__ import annotations

import importlib
import random
import resource
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from rsmoe.data.files.json_text import read_json
from rsmoe.errors import UserError, require_known
from rsmoe.metrics.captions.caption_scores import caption_scores
from rsmoe.metrics.captions.java_meteor import java_meteor_tally
from rsmoe.metrics.captions.meteor import meteor, meteor_statistics
from rsmoe.metrics.captions.tokenize import whitespace
from rsmoe.metrics.captions.tokenized import Corpus

RATIO = 5.0
"""Times that ours has to be faster than pycocoevalcap."""
METEOR_SECONDS = 10.0
"""Most seconds that METEOR may take."""
TOLERANCE = 1e-9
"""Difference up to which two numbers are equal."""
NUMBERS = ("bleu1", "bleu2", "bleu3", "bleu4", "rouge_l", "cider_d", "meteor")
"""Metrics that are timed."""
_TURNS = 5

Captions = tuple[list[str], list[list[str]]]
"""Predictions, and the references of each."""
Scores = dict[str, float]
"""Name of a metric -> its value."""


def read(path: Path) -> Captions:
    """Captions and their references, in the order of the images' names."""
    file = path / "caption_rsicd_val.json" if path.is_dir() else path
    if not file.is_file():
        raise UserError(f"golden={path} has no caption_rsicd_val.json. Give its folder, or leave golden= out.")
    texts = read_json(file)
    names = sorted(texts["hypotheses"])
    return [texts["hypotheses"][n] for n in names], [texts["references"][n] for n in names]


def made_up(*, images: int = 1094, references: int = 5) -> Captions:
    """Sentences of 7 to 15 words, each word as often as in a natural text (Zipf)."""
    rng = random.Random(0)
    words = [f"w{i}" for i in range(1500)]
    weights = [1 / (i + 2) for i in range(1500)]

    def sentence() -> str:
        return " ".join(rng.choices(words, weights, k=rng.randint(7, 15)))

    return [sentence() for _ in range(images)], [[sentence() for _ in range(references)] for _ in range(images)]


def theirs(captions: Captions) -> Callable[[], Scores]:
    """pycocoevalcap's BLEU, ROUGE-L and CIDEr.

    Raises:
        UserError: pycocoevalcap is not installed.
    """
    try:
        names = ("bleu", "Bleu"), ("rouge", "Rouge"), ("cider", "Cider")
        bleu, rouge, cider = (getattr(importlib.import_module(f"pycocoevalcap.{m}.{m}"), c) for m, c in names)
    except ImportError as error:
        raise UserError(f"{error}. The comparison needs `pip install pycocoevalcap==1.2`.") from error

    def run() -> Scores:
        mine = {i: [" ".join(whitespace(text))] for i, text in enumerate(captions[0])}
        others = {i: [" ".join(whitespace(text)) for text in texts] for i, texts in enumerate(captions[1])}
        bleus = bleu(4).compute_score(others, mine, verbose=0)[0]
        scores = {f"bleu{n}": float(value) for n, value in enumerate(bleus, start=1)}
        rouge_l = float(rouge().compute_score(others, mine)[0])
        return {**scores, "rouge_l": rouge_l, "cider_d": float(cider().compute_score(others, mine)[0])}

    return run


def ours(captions: Captions) -> Scores:
    """This library without METEOR, from texts to numbers."""
    return caption_scores(*captions, tokenize=whitespace)


def our_meteor(captions: Captions) -> Scores:
    """This library's METEOR alone."""
    corpus = Corpus.of(*captions, tokenize=whitespace)
    return {"meteor": float(meteor(meteor_statistics(corpus).sum(axis=0)))}


def in_turns(ways: dict[str, Callable[[], Scores]]) -> dict[str, tuple[float, float, Scores]]:
    """Least processor seconds, peak MiB and numbers of each way; the ways take turns, so a slow moment falls on all."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(_TURNS):
        for name, way in ways.items():
            start = time.process_time()
            way()
            seconds[name].append(time.process_time() - start)
    result = {}
    for name, way in ways.items():
        tracemalloc.start()
        scores = way()
        result[name] = min(seconds[name]), tracemalloc.get_traced_memory()[1] / 2**20, scores
        tracemalloc.stop()
    return result


def main(arguments: list[str]) -> None:
    """Prints the table; ends with an error when a number differs, or a limit is missed."""
    if {"--help", "-h"} & set(arguments):
        return print(__doc__)
    options = {"golden": "", "java": "false"}
    for argument in arguments:
        key, _, value = argument.partition("=")
        require_known("argument", key, known=options)
        options[key] = value
    captions = read(Path(options["golden"])) if options["golden"] else made_up()
    other, mine, aligned = "pycocoevalcap", "rsmoe", "rsmoe, METEOR alone"
    ways = {other: theirs(captions), mine: lambda: ours(captions), aligned: lambda: our_meteor(captions)}
    result = in_turns(ways)
    if options["java"] == "true":
        start = time.perf_counter()
        scores = java_meteor_tally(*captions, tokenize=whitespace).values()
        memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        result["Java METEOR (wall clock)"] = time.perf_counter() - start, memory, scores

    table = Table(title=f"{len(captions[0])} captions, {sum(map(len, captions[1]))} references, whitespace tokens")
    for heading in ("", *result):
        table.add_column(heading, justify="right")
    table.add_row("seconds", *(f"{seconds:.3f}" for seconds, _, _ in result.values()))
    table.add_row("peak MiB", *(f"{memory:.0f}" for _, memory, _ in result.values()), end_section=True)
    for key in NUMBERS:
        table.add_row(key, *(f"{scores[key]:.6f}" if key in scores else "-" for _, _, scores in result.values()))
    Console().print(table)

    gap = max(abs(value - result[mine][2][key]) for key, value in result[other][2].items())
    faster = result[other][0] / result[mine][0]
    print(f"without METEOR {faster:.1f} times faster, largest difference of a score {gap:.1e}")
    if gap > TOLERANCE or faster < RATIO or result[aligned][0] > METEOR_SECONDS:
        raise SystemExit(f"needs {RATIO} times, a difference below {TOLERANCE}, METEOR within {METEOR_SECONDS} s")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UserError as error:
        raise SystemExit(str(error)) from None
