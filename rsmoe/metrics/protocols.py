"""Every way a number of this library can be computed, by id."""

from __future__ import annotations

from dataclasses import dataclass

from rsmoe.errors import unknown_name


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """A protocol never changes; a correction gets the next number behind the ``@``."""

    id: str
    """``<family>/<name>@<version>``."""
    sentence: str
    """What is done, scale included."""
    source: str
    """Where it comes from."""
    equals: str
    """The public scorer that gives the same number, and to what tolerance; "-" where there is none."""


_COCO = (
    "BLEU-1..4 (corpus, closest reference), ROUGE-L (beta 1.2) and CIDEr-D (idf of the scored split), all x100 as "
    "papers print them, on {}; an empty caption scores 0 and stays in the denominator."
)
_CHANGE = (
    " Changed and unchanged pairs also apart, each as a corpus of its own. presence, false_alarm, missed (x100): a "
    "caption reports no change when it is one of the no-change sentences or a reference of an unchanged pair."
)
_WHITESPACE = "whitespace tokens (lower-case, '.' and ',' become spaces)"
_PTB = "Penn Treebank tokens without punctuation"
_SCORER = "pycocoevalcap 1.2{} (1e-9)"
_VQA = (
    "Accuracy x100 per type of question, its mean over types (average) and over questions (overall). The whole answer "
    "must be the same after lower-casing, without punctuation and a leading article, with digits for number words{}; "
    "empty and unreadable answers are wrong."
)
_RSVQA = "Lobry et al., RSVQA, IEEE TGRS 2020, doi:10.1109/TGRS.2020.2988782"

PROTOCOLS: dict[str, Protocol] = {
    p.id: p
    for p in (
        Protocol(
            id="caption/coco-whitespace@1",
            sentence=_COCO.format(_WHITESPACE),
            source="https://github.com/salaniz/pycocoevalcap, without its tokenizer",
            equals=_SCORER.format(" scorers on the same tokens"),
        ),
        Protocol(
            id="caption/coco-ptb@1",
            sentence=_COCO.format(_PTB),
            source="https://github.com/salaniz/pycocoevalcap",
            equals=_SCORER.format(" with its PTBTokenizer"),
        ),
        Protocol(
            id="change-caption/whitespace@1",
            sentence=_COCO.format(_WHITESPACE) + _CHANGE,
            source="Liu et al., RSICC / LEVIR-CC, IEEE TGRS 2022, doi:10.1109/TGRS.2022.3218921",
            equals=_SCORER.format(" scorers on the same tokens"),
        ),
        Protocol(
            id="change-caption/ptb@1",
            sentence=_COCO.format(_PTB) + _CHANGE,
            source="Liu et al., RSICC / LEVIR-CC, IEEE TGRS 2022, doi:10.1109/TGRS.2022.3218921",
            equals=_SCORER.format(" with its PTBTokenizer"),
        ),
        Protocol(
            id="vqa/exact@1",
            sentence=_VQA.format(""),
            source="ours; the average over types is that of " + _RSVQA,
            equals="-",
        ),
        Protocol(
            id="vqa/rsvqa@1",
            sentence=_VQA.format(", and counts and areas by RSVQA's bins (0, 1-10, 11-100, 101-1000, above)"),
            source=_RSVQA,
            equals="-",
        ),
        Protocol(
            id="mask/giou@1",
            sentence="One binary mask per sample, x100: miou is the mean IoU over samples (gIoU), ciou the sum of "
            "intersections over the sum of unions, p@t the share with IoU >= t. Empty against empty is 1; no "
            "mask is 0.",
            source="LISA, arXiv 2308.00692 (gIoU, cIoU); LAVT, arXiv 2112.02244 (P@t)",
            equals="-",
        ),
        Protocol(
            id="retrieval/all-captions@1",
            sentence="R@1, R@5, R@10 from image to text and from text to image and their mean mr, x100. All captions "
            "are candidates, duplicates too; one own candidate among the K best is a hit; ties count in expectation.",
            source="RemoteCLIP, arXiv 2306.11029",
            equals="-",
        ),
        Protocol(
            id="retrieval/chance@1",
            sentence="What random embeddings reach under retrieval/all-captions@1, in closed form, x100.",
            source="ours",
            equals="-",
        ),
        Protocol(
            id="routing/task@1",
            sentence="accuracy: share of samples whose heaviest expert serves the task of the sample; "
            "normalised entropy of the weights; load per expert and its coefficient of variation; normalised mutual "
            "information of expert and task. All x100, but the coefficient of variation.",
            source="ours",
            equals="-",
        ),
    )
}


def protocol(name: str) -> Protocol:
    """The protocol with this id, whatever "generated/" stands before it.

    Raises:
        rsmoe.errors.UserError: unknown id; the ids that exist are named.
    """
    known = name.removeprefix("generated/")
    if known not in PROTOCOLS:
        raise unknown_name("protocol", known, PROTOCOLS)
    return PROTOCOLS[known]
