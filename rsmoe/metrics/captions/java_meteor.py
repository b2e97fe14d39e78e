"""METEOR 1.5 as published tables print it, by the Java program that comes with pycocoevalcap."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rsmoe.errors import UserError
from rsmoe.metrics.captions.caption_scores import COCO_PTB, METEOR_SOURCE, caption_tally
from rsmoe.metrics.captions.meteor import best_of, meteor, weighted
from rsmoe.metrics.captions.tokenize import Tokenizer, tokenizer
from rsmoe.metrics.captions.tokenized import Corpus
from rsmoe.metrics.metric import Metric, Pairs, Protocol
from rsmoe.metrics.tally import Tally, beside

_WEIGHTS = (1.0, 0.6, 0.8, 0.6)
"""Of exact, stem, synonym and paraphrase matches."""


class JavaMeteor(Metric):
    """Caption scores with the METEOR of the Java program.

    Needs Java and ``pip install pycocoevalcap==1.2``; asks for them when it is scored with.
    """

    protocol = Protocol(
        id="caption/meteor-java@1",
        title="BLEU, ROUGE-L, CIDEr-D, METEOR of the Java program",
        tasks=("caption", "vqa", "change_vqa"),
        sentence=COCO_PTB + " Also METEOR 1.5 as the Java program computes it, which must be installed.",
        source=METEOR_SOURCE,
        scorer="pycocoevalcap 1.2",
        tolerance="1e-9",
    )

    def tally(self, pairs: Pairs) -> Tally:
        """One row a caption; raises `UserError`, see `java_meteor_jar`."""
        texts, references = [p.text for _, p in pairs], [s.responses for s, _ in pairs]
        java = java_meteor_tally(texts, references, tokenize=tokenizer("ptb"))
        return beside(caption_tally(texts, references, tokenize=tokenizer("ptb")), java)


def java_meteor_jar() -> Path:
    """``meteor-1.5.jar`` of the installed pycocoevalcap.

    Raises:
        UserError: pycocoevalcap, its jar or a Java runtime is missing; with what to install.
    """
    spec = importlib.util.find_spec("pycocoevalcap")
    folders = [Path(p) for p in spec.submodule_search_locations or ()] if spec else []
    jar = next((f for folder in folders if (f := folder / "meteor" / "meteor-1.5.jar").is_file()), None)
    missing = [] if jar else ["pycocoevalcap 1.2: `pip install pycocoevalcap==1.2`"]
    if shutil.which("java") is None:
        missing.append("a Java runtime: `apt-get install default-jre-headless`, or `conda install openjdk`")
    if missing or jar is None:
        raise UserError(
            f"The Java METEOR scorer needs {' and '.join(missing)}. Without them use a protocol such as "
            "caption/meteor-ptb@1, whose METEOR is in Python (exact and stem matches)."
        )
    return jar


def java_meteor_tally(hypotheses: Sequence[str], references: Sequence[Sequence[str]], *, tokenize: Tokenizer) -> Tally:
    """What each of n captions adds to the METEOR of the Java program; numbers are meteor (0 to 1), n, parse_failures.

    The program runs once, with the options of pycocoevalcap (``-l en -norm``), on tokens joined by blanks. It aligns;
    the score follows from its counts as its own ``EVAL`` computes it.

    Raises:
        UserError: see `java_meteor_jar`; or the program failed.
        ValueError: no caption, or a caption without references.
    """
    jar = java_meteor_jar()
    corpus = Corpus.of(hypotheses, references, tokenize=tokenize)
    texts = [" ".join(tokens).replace("|||", " ") for tokens in corpus.sentences]
    mine, theirs = corpus.hypotheses[corpus.pairs[:, 0]], corpus.references[corpus.pairs[:, 1]]
    distinct, place = np.unique(np.stack([mine, theirs], axis=1), axis=0, return_inverse=True)
    lines = [f"SCORE ||| {texts[reference]} ||| {texts[caption]}\n" for caption, reference in distinct.tolist()]
    command = ["java", "-Xmx2G", "-jar", str(jar), "-", "-", "-stdio", "-l", "en", "-norm"]
    done = subprocess.run(command, input="".join(lines), capture_output=True, encoding="utf-8", check=False)
    counts = [[float(number) for number in line.split()] for line in done.stdout.splitlines()]
    if done.returncode != 0 or len(counts) != len(lines):
        raise UserError(
            f"`{' '.join(command)}` scored {len(counts)} of {len(lines)} pairs. It says: {done.stderr[-500:]}"
        )
    best = best_of(_statistics(np.array(counts))[place.ravel()], corpus.pairs[:, 0])
    empty = corpus.grams.length[corpus.hypotheses] == 0
    return Tally(rows=np.column_stack([best, np.ones(len(best)), empty]), finish=_finish)


def _finish(sums: np.ndarray) -> dict[str, np.ndarray]:
    return {"meteor": meteor(sums[..., :-2]), "n": sums[..., -2], "parse_failures": sums[..., -1]}


def _statistics(counts: np.ndarray) -> np.ndarray:
    """The 23 counts that the program prints of a pair -> the 6 of `meteor_statistics`."""
    length, function = counts[:, 0:2], counts[:, 2:4]  # of caption, of reference
    modules = counts[:, 4:20].reshape(-1, len(_WEIGHTS), 2, 2)  # module; content, function words; caption, reference
    matched = np.tensordot(weighted(modules[:, :, 0], modules[:, :, 1]), _WEIGHTS, axes=(1, 0))
    words = weighted(length - function, function)
    perfect = (modules.sum(axis=(1, 2)) == length).all(axis=1) & (counts[:, 20] == 1)
    chunks = np.where(perfect, 0, counts[:, 20])
    return np.column_stack(
        [matched[:, 0], words[:, 0], matched[:, 1], words[:, 1], chunks, counts[:, 21:23].mean(axis=1)]
    )
