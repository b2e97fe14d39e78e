"""Every way a number of this library can be computed, by id."""

from __future__ import annotations

from dataclasses import dataclass

from rsmoe.errors import unknown_name


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """A protocol never changes; a correction gets the next number behind the ``@``."""

    id: str
    """``<family>/<name>@<version>``."""
    tasks: tuple[str, ...] = ()
    """Tasks of `rsmoe.data.TASKS` whose samples it can score; none where its input is no sample with a prediction."""
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
_CHANGECHAT = "Deng et al., DeltaVLM / ChangeChat, arXiv 2507.22346"
_GROUND = (
    "x100: acc@0.5 and acc@0.7 of true boxes, their mean IoU, and AP at IoU 0.5, boxes in float pixels of the original "
    "image, matched one to one; what cannot be parsed is a wrong box.{}"
)
_TEXT_TASKS = ("caption", "vqa", "change_vqa")
_QUESTIONS = ("vqa", "change_vqa")
_LEVIR_IDS = (
    "whitespace tokens as ids of the release's vocabulary, all unknown words being one id that matches itself: to "
    "compare with the tables of change captioning, not a default"
)
_METEOR = (
    " Also METEOR 1.5 with its exact and stem modules (no synonyms, no paraphrases), and S*m. On 1,094 captions of "
    "RSICD 0.9 below the Java program on words, 0.09 on word ids."
)
_IDS_METEOR = ", METEOR 1e-3 of 1 (0.1 as printed)"
_METEOR_SOURCE = "Denkowski and Lavie, Meteor Universal, WMT 2014; https://github.com/salaniz/pycocoevalcap"
_RSVQA = "Lobry et al., RSVQA, IEEE TGRS 2020, doi:10.1109/TGRS.2020.2988782"

PROTOCOLS: dict[str, Protocol] = {
    p.id: p
    for p in (
        Protocol(
            id="caption/coco-whitespace@1",
            tasks=_TEXT_TASKS,
            sentence=_COCO.format(_WHITESPACE),
            source="https://github.com/salaniz/pycocoevalcap, without its tokenizer",
            equals=_SCORER.format(" scorers on the same tokens"),
        ),
        Protocol(
            id="caption/coco-ptb@1",
            tasks=_TEXT_TASKS,
            sentence=_COCO.format(_PTB),
            source="https://github.com/salaniz/pycocoevalcap",
            equals=_SCORER.format(" with its PTBTokenizer"),
        ),
        Protocol(
            id="caption/meteor-ptb@1",
            tasks=_TEXT_TASKS,
            sentence=_COCO.format(_PTB) + _METEOR,
            source=_METEOR_SOURCE,
            equals=_SCORER.format(" with its PTBTokenizer") + "; METEOR is 0.9 lower on RSICD",
        ),
        Protocol(
            id="caption/meteor-java@1",
            tasks=_TEXT_TASKS,
            sentence=_COCO.format(_PTB) + " Also METEOR 1.5 as the Java program computes it, which must be installed.",
            source=_METEOR_SOURCE,
            equals="pycocoevalcap 1.2",
        ),
        Protocol(
            id="text/quality@1",
            tasks=_TEXT_TASKS,
            sentence="How texts are written: mean length and vocabulary in tokens; distinct n-grams, repetition of "
            "4-grams, and against known objects CHAIR and the recall of objects, as shares from 0 to 1.",
            source="Li et al., NAACL 2016; Welleck et al., ICLR 2020; Rohrbach et al., EMNLP 2018",
            equals="-",
        ),
        Protocol(
            id="caption/levir-ids@1",
            tasks=_TEXT_TASKS,
            sentence=_COCO.format(_LEVIR_IDS) + _METEOR,
            source="https://github.com/Chen-Yang-Liu/RSICC, eval_func",
            equals=_SCORER.format(" scorers on the same ids") + _IDS_METEOR,
        ),
        Protocol(
            id="change-caption/whitespace@1",
            tasks=("change_caption",),
            sentence=_COCO.format(_WHITESPACE) + _CHANGE,
            source="Liu et al., RSICC / LEVIR-CC, IEEE TGRS 2022, doi:10.1109/TGRS.2022.3218921",
            equals=_SCORER.format(" scorers on the same tokens"),
        ),
        Protocol(
            id="change-caption/ptb@1",
            tasks=("change_caption",),
            sentence=_COCO.format(_PTB) + _CHANGE,
            source="Liu et al., RSICC / LEVIR-CC, IEEE TGRS 2022, doi:10.1109/TGRS.2022.3218921",
            equals=_SCORER.format(" with its PTBTokenizer"),
        ),
        Protocol(
            id="change-caption/meteor-ptb@1",
            tasks=("change_caption",),
            sentence=_COCO.format(_PTB) + _METEOR + _CHANGE,
            source=_METEOR_SOURCE,
            equals=_SCORER.format(" with its PTBTokenizer") + "; METEOR is 0.9 lower on RSICD",
        ),
        Protocol(
            id="change-caption/levir-ids@1",
            tasks=("change_caption",),
            sentence=_COCO.format(_LEVIR_IDS) + _METEOR + _CHANGE,
            source="https://github.com/Chen-Yang-Liu/RSICC, eval_func",
            equals=_SCORER.format(" scorers on the same ids") + _IDS_METEOR,
        ),
        Protocol(
            id="vqa/exact@1",
            tasks=_QUESTIONS,
            sentence=_VQA.format(""),
            source="ours; the average over types is that of " + _RSVQA,
            equals="-",
        ),
        Protocol(
            id="vqa/rsvqa@1",
            tasks=("vqa",),
            sentence=_VQA.format(", and counts and areas by RSVQA's bins (0, 1-10, 11-100, 101-1000, above)"),
            source=_RSVQA,
            equals="-",
        ),
        Protocol(
            id="vqa/free-text@1",
            tasks=_QUESTIONS,
            sentence="Best of the references, x100, over questions and per type: exact (same characters), "
            "normalised (as vqa/exact@1), f1 of the normalised words. An empty answer is 0 in all.",
            source="ours, for RSIEval (arXiv 2307.15266), which publishes no scorer; f1: SQuAD, arXiv 1606.05250",
            equals="-",
        ),
        Protocol(
            id="vqa/multiple-choice@1",
            tasks=_QUESTIONS,
            sentence="Accuracy x100 per type, its mean over types and over questions. An option is chosen by its "
            "letter alone, behind 'Answer:' or in front of its own words, or by its words; a letter that begins a "
            "sentence is none. What chooses nothing is wrong.",
            source="ours, for GEOBench-VLM (arXiv 2411.19325), LHRS-Bench (arXiv 2402.02544), XLRS-Bench",
            equals="-",
        ),
        Protocol(
            id="change-vqa/changechat@1",
            tasks=("change_vqa",),
            sentence="Each question by what it asks for: change/presence@1, change/counts@1, change/cells@1, and "
            "vqa/free-text@1 for all others.",
            source=_CHANGECHAT + "; question types, the scoring is ours",
            equals="-",
        ),
        Protocol(
            id="change/presence@1",
            tasks=("change_vqa",),
            sentence="x100: accuracy, precision, recall, F1 of yes (changed), and false_alarm, the share of "
            "unchanged pairs not called so. An answer that is neither yes nor no is wrong.",
            source=_CHANGECHAT,
            equals="scikit-learn on readable answers",
        ),
        Protocol(
            id="change/counts@1",
            tasks=("change_vqa",),
            sentence="MAE and RMSE in things per class; x100: exact (all classes right), false_alarm (of pairs "
            "without change). An unreadable answer counts as the furthest count from 0 to the largest true one, off by "
            "one at least.",
            source=_CHANGECHAT,
            equals="scikit-learn on readable answers",
        ),
        Protocol(
            id="change/cells@1",
            tasks=("change_vqa",),
            sentence="Nine cells, over all classes and per class, x100: micro precision, recall, F1; Jaccard a "
            "pair, where no cell against no cell is 1; subset and Hamming; false_alarm. An unreadable answer is "
            "wrong in every cell.",
            source=_CHANGECHAT,
            equals="scikit-learn on readable answers, but Jaccard",
        ),
        Protocol(
            id="change/cells-sklearn@1",
            tasks=("change_vqa",),
            sentence="change/cells@1 with a Jaccard of 0 for no cell against no cell, under which a perfect answer "
            "to ChangeChat's test set has 30: to compare with published rows only.",
            source=_CHANGECHAT,
            equals="scikit-learn's jaccard_score(average='samples') on readable answers",
        ),
        Protocol(
            id="change/map@1",
            sentence="x100: IoU, precision, recall and F1 of changed pixels over all pairs, each pair once; mean IoU "
            "over changed pairs; unchanged pairs with any changed pixel; kinds of the pixels that were found. A pair "
            "without a map has none of its changes found, and is a false alarm where nothing changed.",
            source="the numbers of change detection; ours in what is counted once",
            equals="-",
        ),
        Protocol(
            id="change/direction@1",
            sentence="x100: changed pairs whose caption tells, like its references, of what appeared or of what "
            "vanished; the same on swapped dates, which must turn it round; answers that turn. Words of "
            "`rsmoe.commands.swap`.",
            source="ours",
            equals="-",
        ),
        Protocol(
            id="change/agreement@1",
            sentence="Answers on presence, counts and cells against the same facts read off the model's own map: truth "
            "plays no part, and reference_... is the same of the true answer and map. x100, but the MAE.",
            source="ours",
            equals="-",
        ),
        Protocol(
            id="ground/hbb@1",
            tasks=("ground",),
            sentence=_GROUND.format(" Oriented boxes by their horizontal hull."),
            source="accuracy as in DIOR-RSVG, doi:10.1109/TGRS.2023.3250471; matching as in COCO",
            equals="-",
        ),
        Protocol(
            id="ground/obb@1",
            tasks=("ground",),
            sentence=_GROUND.format(" IoU of oriented boxes by exact polygons."),
            source="accuracy as in GeoChat, arXiv 2311.15826",
            equals="-",
        ),
        Protocol(
            id="ground/legacy-plus-one@1",
            tasks=("ground",),
            sentence=_GROUND.format(
                " With 1 added to every side of boxes in [0, 1], under which random boxes score 24 to 38: "
                "to compare with published rows only."
            ),
            source="LHRS-Bot, main_vg.py, see https://github.com/NJU-LHRS/LHRS-Bot/issues/27",
            equals="the IoU of that script; it also drops what it cannot parse, which this does not",
        ),
        Protocol(
            id="mask/giou@1",
            tasks=("mask",),
            sentence="One binary mask per sample, x100: miou is the mean IoU over samples (gIoU), also per class "
            "and as mean over classes; ciou (oIoU) the sum of intersections over the sum of unions; p@t the share "
            "with IoU >= t. Empty against empty is 1; no mask is 0.",
            source="LISA, arXiv 2308.00692 (gIoU, cIoU); LAVT, arXiv 2112.02244 (P@t)",
            equals="-",
        ),
        Protocol(
            id="mask/boundary@1",
            tasks=("mask",),
            sentence="Mean over samples of the F-measure of outlines within 0.8 % of the diagonal, and its "
            "precision and recall, x100. Two empty masks are 1; no mask is 0.",
            source="DAVIS, Perazzi et al., CVPR 2016",
            equals="-",
        ),
        Protocol(
            id="mask/instances@1",
            tasks=("mask",),
            sentence="Several masks a sample, matched one to one by IoU, x100: mean IoU of true masks, precision, "
            "recall and F1 at IoU 0.5 and 0.7. Empty against empty is 1; no mask is a miss of each.",
            source="ours, for GeoPixInstruct",
            equals="-",
        ),
        Protocol(
            id="segmentation/miou@1",
            tasks=(),
            sentence="IoU per class from one confusion matrix of all pixels, and its mean, from 0 to 1; pixels of "
            "unknown class are left out.",
            source="PASCAL VOC; LEVIR-MCI (Change-Agent, arXiv 2403.19646)",
            equals="-",
        ),
        Protocol(
            id="retrieval/all-captions@1",
            tasks=("retrieval",),
            sentence="R@1, R@5, R@10 from image to text and from text to image and their mean mr, x100. All "
            "captions are candidates, duplicates too; one own candidate among the K best is a hit; ties count in "
            "expectation.",
            source="RemoteCLIP, arXiv 2306.11029",
            equals="-",
        ),
        Protocol(
            id="retrieval/unique-captions@1",
            tasks=("retrieval",),
            sentence="As retrieval/all-captions@1, but equal captions are one candidate and one query, right for "
            "each of their images.",
            source="SkyScript, arXiv 2312.12856, cross_modal_retrieval.ipynb",
            equals="-",
        ),
        Protocol(
            id="retrieval/ranking@1",
            tasks=("retrieval",),
            sentence="Rankings as they are given, one a query: r1, r5, r10 (something relevant among the first K), "
            "their mean mr, and the mean reciprocal rank, x100.",
            source="ours",
            equals="-",
        ),
        Protocol(
            id="retrieval/chance@1",
            sentence="What random embeddings reach under retrieval/all-captions@1, in closed form, x100.",
            source="ours",
            equals="-",
        ),
        Protocol(
            id="retrieval/chance-unique@1",
            sentence="What random embeddings reach under retrieval/unique-captions@1, in closed form, x100.",
            source="ours",
            equals="-",
        ),
        Protocol(
            id="zero-shot/top1@1",
            tasks=(),
            sentence="Share of images whose class has the highest score, over images and as mean over classes, from 0 "
            "to 1; ties share the hit.",
            source="RS5M / GeoRSCLIP, arXiv 2306.11300, inference_tool.py",
            equals="-",
        ),
        Protocol(
            id="selo/air-slt@1",
            sentence="Semantic localisation: means over maps of Rsu, Rda, Ras (lower is better) and Rmi, from 0 to 1.",
            source="Yuan et al., TGRS 2022; https://github.com/xiaoyuan1996/SemanticLocalizationMetrics, SLM.py",
            equals="-",
        ),
        Protocol(
            id="routing/task@1",
            sentence="accuracy: share of samples whose heaviest expert serves the task of the sample; normalised "
            "entropy of the weights; load per expert and its coefficient of variation; normalised mutual "
            "information of expert and task; agreement of the heaviest expert within a task, overlap of the weights "
            "between tasks. All x100, but the coefficient of variation.",
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


def protocol_table() -> str:
    """Every protocol as a table in markdown, for the README."""
    rows = [f"| `{p.id}` | {p.sentence} | {p.source} | {p.equals} |" for p in PROTOCOLS.values()]
    return "\n".join(["| protocol | what is computed | source | equals |", "|---|---|---|---|", *rows])
