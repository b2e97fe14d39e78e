"""`python -m rsmoe.score`: layouts of files, errors that name ids, table and json."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from rsmoe.config import compose
from rsmoe.data.rasters.rle import encode_rle
from rsmoe.data.sample import Sample
from rsmoe.errors import UserError
from rsmoe.evaluation.formats.layouts import References, read_predictions, read_references
from rsmoe.evaluation.score_files import score_files
from rsmoe.metrics.prediction import Prediction
from rsmoe.score import cli, table

CAPTIONS = {
    "airport_1.jpg": ["a plane is parked at the terminal", "one plane at an airport"],
    "lake_2.jpg": ["a green lake in a wood", "there is a lake"],
    "road_3.jpg": ["a road crosses the field", "two roads cross"],
}
ANSWERS = {"airport_1.jpg": "a plane is parked", "lake_2.jpg": "a green lake in a wood", "road_3.jpg": ""}
PTB = "caption/coco-ptb@1"
BLEU_1 = 100 * np.exp(1 - (5 + 6 + 3) / (4 + 6 + 0))
"""All ten words are right; the closest references have 5, 6 and 3."""


def write(path: Path, content: Any) -> Path:
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in content))
    else:
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def karpathy(**more: Any) -> dict[str, Any]:
    rows = [
        {"filename": name, "imgid": 7 + i, "split": "test", "sentences": [{"raw": f" {t} ."} for t in texts], **more}
        for i, (name, texts) in enumerate(CAPTIONS.items())
    ]
    words = [{"raw": "a plane a lake a road"}] * 6
    return {"images": [*rows, {"filename": "t.jpg", "imgid": 99, "split": "train", "sentences": words}]}


def references(kind: str, folder: Path) -> Path:
    contents: dict[str, tuple[str, Any]] = {
        "rows": ("r.jsonl", [{"id": name, "references": texts} for name, texts in CAPTIONS.items()]),
        "list": ("r.json", [{"image_id": name, "captions": texts} for name, texts in CAPTIONS.items()]),
        "mapping": ("r.json", CAPTIONS),
        "karpathy": ("dataset.json", karpathy()),
        "coco": (
            "captions.json",
            {
                "images": [{"id": 7 + i, "file_name": name} for i, name in enumerate(CAPTIONS)],
                "annotations": [
                    {"image_id": 7 + i, "caption": t} for i, texts in enumerate(CAPTIONS.values()) for t in texts
                ],
            },
        ),
    }
    return write(folder / contents[kind][0], contents[kind][1])


def predictions(kind: str, folder: Path) -> Path:
    contents: dict[str, tuple[str, Any]] = {
        "ours": ("p.jsonl", [Prediction(id=k, task="caption", text=v).as_dict() for k, v in ANSWERS.items()][::-1]),
        "coco": ("results.json", [{"image_id": k, "caption": v} for k, v in ANSWERS.items()]),
        "coco numbers": ("numbers.json", [{"image_id": 7 + i, "caption": v} for i, v in enumerate(ANSWERS.values())]),
        "mapping": ("mapping.json", {k: [v] for k, v in ANSWERS.items()}),
        "lines": ("p.txt", "\n".join(ANSWERS.values()) + "\n"),
        "stems": ("stems.jsonl", [{"id": Path(k).stem, "text": v} for k, v in ANSWERS.items()]),
    }
    return write(folder / contents[kind][0], contents[kind][1])


def values(report: dict[str, Any]) -> dict[str, float]:
    return {row["metric"].split("/", 1)[1]: row["value"] for row in report["results"]}


@pytest.mark.parametrize("given", ["ours", "coco", "mapping", "lines"])
@pytest.mark.parametrize("truth", ["rows", "list", "mapping", "karpathy", "coco"])
def test_every_layout_gives_the_same_numbers(given: str, truth: str, tmp_path: Path) -> None:
    report = score_files(
        protocol=PTB, predictions=predictions(given, tmp_path), references=references(truth, tmp_path), draws=0
    )
    found = values(report)
    assert found["bleu1"] == pytest.approx(BLEU_1, abs=1e-3) and found["cider_d"] > 0
    assert {(row["n"], row["parse_failures"]) for row in report["results"]} == {(3, 1)}


@pytest.mark.parametrize(
    ("given", "truth"), [("coco numbers", "karpathy"), ("coco numbers", "coco"), ("stems", "karpathy")]
)
def test_ids_may_be_image_numbers_or_stems(given: str, truth: str, tmp_path: Path) -> None:
    known = read_references(references(truth, tmp_path), task="caption", split="test")
    found = read_predictions(predictions(given, tmp_path), known, task="caption")
    assert {p.id for p in found} == {s.id for s in known.samples}
    texts = {p.id: p.text for p in found}
    assert [texts[s.id] for s in known.samples] == list(ANSWERS.values())


def test_unmatched_ids_are_named(tmp_path: Path) -> None:
    truth = references("karpathy", tmp_path)
    rows = [{"id": "airport_1.jpg", "text": "x"}, {"id": "nowhere.jpg", "text": "x"}, {"id": "lake_2.jpg", "text": "x"}]
    with pytest.raises(UserError, match=r"without a prediction \(road_3.jpg\).*without a sample \(nowhere.jpg\)"):
        score_files(protocol=PTB, predictions=write(tmp_path / "p.jsonl", rows), references=truth)
    twice = write(tmp_path / "p.jsonl", [{"id": k, "text": v} for k, v in [*ANSWERS.items(), ("lake_2.jpg", "y")]])
    with pytest.raises(UserError, match=r"occur twice \(lake_2.jpg\)"):
        score_files(protocol=PTB, predictions=twice, references=truth)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("p.txt", "one\ntwo\n", "2 lines for 3 references"),
        ("p.jsonl", [{"id": "lake_2.jpg", "guess": "x"}], "no prediction; expected one of the keys text"),
        ("p.jsonl", [{"text": "x"}], "no id"),
        ("p.json", {"lake_2.jpg": ["x", "y"]}, "2 predictions: give one"),
        ("p.json", "{", "is not json"),
        ("absent.jsonl", None, "does not exist"),
    ],
)
def test_predictions_in_another_form_say_what_was_expected(
    name: str, content: Any, message: str, tmp_path: Path
) -> None:
    path = tmp_path / name if content is None else write(tmp_path / name, content)
    with pytest.raises(UserError, match=message):
        score_files(protocol=PTB, predictions=path, references=references("rows", tmp_path))


def test_references_in_another_form_say_what_was_expected(tmp_path: Path) -> None:
    given = predictions("coco", tmp_path)
    for content, message in (
        ({"what": 1}, "none of the layouts"),
        ([{"id": "x"}], "no reference"),
        ([], "no reference"),
    ):
        with pytest.raises(UserError, match=message):
            score_files(protocol=PTB, predictions=given, references=write(tmp_path / "x.json", content))
    with pytest.raises(UserError, match="no split 'val'; type one of: split=test, split=train"):
        score_files(protocol=PTB, predictions=given, references=references("karpathy", tmp_path), split="val")
    with pytest.raises(UserError, match="does not score files"):
        score_files(protocol="routing/task@1", predictions=given, references=given)
    with pytest.raises(UserError, match="Did you mean 'caption/coco-ptb@1'"):
        score_files(protocol="caption/coco-ptb", predictions=given, references=given)


def test_levir_cc_flags_and_sentences_say_what_changed(tmp_path: Path) -> None:
    rows = [
        {"filename": f"{i}.png", "split": "test", "sentences": [{"raw": text}], **flag}
        for i, (text, flag) in enumerate(
            [
                ("a house is built", {"changeflag": 1}),
                ("nothing new here", {"changeflag": 0}),
                ("there is no difference .", {}),
            ]
        )
    ]
    truth = write(tmp_path / "LevirCCcaptions.json", {"images": rows})
    kinds = [s.kind for s in read_references(truth, task="change_caption", split="test").samples]
    assert kinds == ["changed", "unchanged", "unchanged"]
    given = write(tmp_path / "p.txt", "a house is built\nthere is no difference\na road is built\n")
    found = values(score_files(protocol="change-caption/ptb@1", predictions=given, references=truth, draws=0))
    assert (found["presence"], found["false_alarm"], found["bleu1/changed"]) == pytest.approx(
        (200 / 3, 50, 100), abs=1e-4
    )
    release = [
        {"image_A": r["filename"], "captions": [r["sentences"][0]["raw"]], "changeflag": r.get("changeflag", 0)}
        for r in rows
    ]
    other = write(tmp_path / "changechat_105k_test.json", release)
    assert values(score_files(protocol="change-caption/ptb@1", predictions=given, references=other, draws=0)) == found


def test_word_ids_come_from_the_training_captions_or_from_a_file(tmp_path: Path) -> None:
    truth, given = references("karpathy", tmp_path), predictions("coco", tmp_path)
    known = read_references(truth, task="caption", split="test")
    assert known.word_vocabulary() == {"a": 2, "lake": 3, "plane": 4, "road": 5}
    ids = "caption/levir-ids@1"
    own = values(score_files(protocol=ids, predictions=given, references=truth, draws=0))
    file = write(tmp_path / "vocab.json", {w: i for i, w in enumerate("a lake plane road".split(), 2)})
    rows = references("rows", tmp_path)
    assert own == pytest.approx(
        values(score_files(protocol=ids, predictions=given, references=rows, vocabulary=file, draws=0))
    )
    with pytest.raises(UserError, match="vocabulary=vocab.json"):
        score_files(protocol=ids, predictions=given, references=rows)


def test_vqa_choices_change_and_boxes_from_rows(tmp_path: Path) -> None:
    def run(protocol: str, truth: list[dict[str, Any]], *texts: Any) -> dict[str, float]:
        given = write(tmp_path / "p.jsonl", [{"id": r["id"], "text": t} for r, t in zip(truth, texts, strict=True)])
        return values(
            score_files(protocol=protocol, predictions=given, references=write(tmp_path / "r.jsonl", truth), draws=0)
        )

    rows = [{"id": 1, "answer": "12", "kind": "count"}, {"id": 2, "answer": "yes", "kind": "presence"}]
    assert run("vqa/rsvqa@1", rows, 57, "No.") == {"count": 100, "presence": 0, "average": 50, "overall": 50}
    options = {"A": "road", "B": "river"}
    assert run("vqa/multiple-choice@1", [{"id": "q", "answer": "B", "options": options}], "Answer: B")["overall"] == 100
    changed = [{"id": "a", "reference": "Yes"}, {"id": "b", "reference": "No"}]
    assert run("change/presence@1", changed, "yes", "perhaps")["accuracy"] == 50
    counted = [{"id": "a", "reference": "2 roads have changed, and no buildings have changed."}]
    assert run("change/counts@1", counted, "3 roads and 1 building")["mae/road"] == 1.0
    place = {"box_convention": "minigpt", "size_px": [200, 100]}
    boxes = [{"id": "g", "boxes_px": [[20, 10, 100, 50]], **place}]
    assert run("ground/hbb@1", boxes, "{<10><10><50><50>}")["acc@0.7"] == 100
    assert run("ground/hbb@1", boxes, None)["miou"] == 0


def test_coco_questions_with_several_answers(tmp_path: Path) -> None:
    rows = [
        {"question_id": 5, "image_id": 1, "question_type": "count", "answers": [{"answer": "2"}, {"answer": "two"}]}
    ]
    truth = write(tmp_path / "v.json", {"annotations": rows})
    given = write(tmp_path / "p.json", [{"question_id": 5, "answer": "Two."}])
    found = values(score_files(protocol="vqa/exact@1", predictions=given, references=truth, draws=0))
    assert found["count"] == found["overall"] == 100


def test_masks_rankings_and_embeddings_from_rows(tmp_path: Path) -> None:
    mask = np.zeros((6, 8), dtype=bool)
    mask[1:4, 2:6] = True
    code = {"size": [6, 8], "counts": encode_rle(mask)}
    truth = write(tmp_path / "r.jsonl", [{"id": "m", "mask": code, "kind": "ship"}, {"id": "n", "mask": code}])
    answers = [Prediction(id="m", task="mask", mask=mask), Prediction(id="n", task="mask")]
    given = write(tmp_path / "p.jsonl", [p.as_dict() for p in answers])
    found = values(score_files(protocol="mask/giou@1", predictions=given, references=truth, draws=0))
    assert (found["miou"], found["miou/ship"]) == (50, 100)

    truth = write(tmp_path / "r.jsonl", [{"id": "q", "references": ["d1", "d2"]}, {"id": "w", "references": ["d9"]}])
    ranked = [{"id": "q", "ranking": ["d7", "d2"]}, {"id": "w", "ranking": ["d9"]}]
    given = write(tmp_path / "p.jsonl", ranked)
    found = values(score_files(protocol="retrieval/ranking@1", predictions=given, references=truth, draws=0))
    assert (found["r1"], found["r5"], found["mrr"]) == (50, 100, 75)

    eye = np.eye(3).tolist()
    rows = [{"id": k, "image_embedding": eye[i], "text_embeddings": [eye[i]] * 2} for i, k in enumerate(CAPTIONS)]
    given, truth = write(tmp_path / "p.jsonl", rows), references("karpathy", tmp_path)
    found = values(score_files(protocol="retrieval/all-captions@1", predictions=given, references=truth, draws=0))
    assert found["mr"] == 100


def test_the_report_says_how_it_was_made(tmp_path: Path) -> None:
    truth, given, other = references("rows", tmp_path), predictions("coco", tmp_path), predictions("lines", tmp_path)
    other.write_text("a plane\na wood\na road\n")
    options: dict[str, Any] = {"protocol": PTB, "predictions": given, "references": truth, "compare": other}
    report = score_files(**options, draws=200, seed=3)
    assert report == score_files(**options, draws=200, seed=3) != score_files(**options, draws=200, seed=4)
    assert report["sha256"]["predictions"] == hashlib.sha256(given.read_bytes()).hexdigest()
    assert set(report["sha256"]) == {"predictions", "references", "compare"}
    assert (report["interval"]["draws"], report["interval"]["seed"], report["n"]) == (200, 3, 3)
    alone = values(score_files(protocol=PTB, predictions=other, references=truth, draws=0))
    for row in report["results"]:
        assert row["low"] <= row["value"] <= row["high"]
        assert row["difference"] == pytest.approx(row["value"] - alone[row["metric"].split("/", 1)[1]])
        assert row["difference_low"] <= row["difference"] <= row["difference_high"]
    console = Console(width=80, record=True, quiet=False, file=(tmp_path / "out").open("w"))
    console.print(table(report))
    text = console.export_text()
    assert "cider_d" in text and "difference [95 %]" in text and "BLEU-1..4" in text
    assert all(f"{row['value']:.2f}" in text for row in report["results"])


def test_references_without_a_prediction_count_as_wrong_and_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    truth = references("rows", tmp_path)
    whole = [{"id": name, "text": texts[0]} for name, texts in CAPTIONS.items()]
    part, silent = write(tmp_path / "part.jsonl", whole[:2]), [*whole[:2], {**whole[2], "text": ""}]
    options: dict[str, Any] = {"protocol": PTB, "references": truth, "draws": 0}
    found = score_files(predictions=part, **options)
    assert values(found) == values(score_files(predictions=write(tmp_path / "empty.jsonl", silent), **options))
    assert found["missing"] == {"predictions": [whole[2]["id"]]}
    assert {(row["n"], row["parse_failures"]) for row in found["results"]} == {(3, 1)}
    with pytest.raises(UserError, match=r"1 samples without a prediction \(road_3.jpg\)"):
        score_files(predictions=part, missing="error", **options)
    with pytest.raises(UserError, match="holds no prediction"):
        score_files(predictions=write(tmp_path / "none.json", []), **options)
    cli([f"protocol={PTB}", f"predictions={part}", f"references={truth}", "draws=0", "json=true"])
    printed = capsys.readouterr()
    assert json.loads(printed.out)["missing"] == found["missing"]
    assert "warning: predictions: 1 of 3 references have no prediction (road_3.jpg)" in printed.err
    with pytest.raises(SystemExit, match="1 samples without a prediction"):
        cli([f"protocol={PTB}", f"predictions={part}", f"references={truth}", "missing=error"])


def test_a_part_of_the_predictions_is_matched_by_its_own_key(tmp_path: Path) -> None:
    """Question numbers that are picture numbers of others as well: by which of them is never guessed."""
    truth = [{"question_id": i, "image_id": 9 - i, "answer": str(i)} for i in range(10)]
    known = read_references(write(tmp_path / "r.json", truth), task="vqa", split="test")
    given = write(tmp_path / "p.json", [{"question_id": i, "answer": str(i)} for i in range(4)])
    assert [p.id for p in read_predictions(given, known, task="vqa")] == ["0", "1", "2", "3"]
    both = [{"question_id": i, "image_id": i, "answer": str(i)} for i in range(4)]
    with pytest.raises(UserError, match="give the answers to different references"):
        read_predictions(write(tmp_path / "p.json", both), known, task="vqa")


def test_folders_of_class_maps(tmp_path: Path) -> None:
    maps = {"a": np.array([[0, 1], [1, 255]]), "b/c": np.array([[2, 2], [0, 0]]), "d": np.array([[1, 1], [1, 1]])}
    for folder, names in (("truth", ("a", "b/c", "d")), ("said", ("a", "b/c"))):
        for name in names:
            path = tmp_path / folder / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            wrong = folder == "said" and name == "a"
            Image.fromarray((np.zeros((2, 2)) if wrong else maps[name]).astype(np.uint8)).save(path)
    options: dict[str, Any] = {"predictions": tmp_path / "said", "references": tmp_path / "truth", "draws": 20}
    found = score_files(protocol="segmentation/miou@1", **options)
    rows = {row["metric"].split("/", 1)[1]: row for row in found["results"]}
    assert rows["iou/0"]["value"] == pytest.approx(100 * 3 / 5) and rows["iou/1"]["value"] == 0
    assert rows["iou/2"]["value"] == 100 and rows["miou"]["value"] == pytest.approx(160 / 3)
    assert rows["pixel_accuracy"]["value"] == pytest.approx(100 * 5 / 11)
    assert (rows["miou"]["n"], rows["miou"]["parse_failures"]) == (3, 1) and found["missing"] == {"predictions": ["d"]}
    (tmp_path / "truth" / "classes.txt").write_text("water\nroad\nwood\n")
    named = score_files(protocol="segmentation/miou@1", **options)
    assert {row["metric"].split("/", 1)[1] for row in named["results"]} >= {"iou/water", "iou/road", "iou/wood"}
    Image.fromarray(np.zeros((2, 2), np.uint8)).save(tmp_path / "said" / "zz.png")
    with pytest.raises(UserError, match=r"predictions without a sample \(zz\)"):
        score_files(protocol="segmentation/miou@1", **options)
    (tmp_path / "nothing").mkdir()
    with pytest.raises(UserError, match="holds no class map"):
        score_files(protocol="segmentation/miou@1", **options | {"predictions": tmp_path / "nothing"})


def test_a_metric_can_be_added(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truth, given = references("rows", tmp_path), predictions("coco", tmp_path)
    cli([f"protocol={PTB}", f"predictions={given}", f"references={truth}", "+metric=text_quality", "json=true"])
    rows = {row["metric"]: row for row in json.loads(capsys.readouterr().out)["results"]}
    assert rows["caption/bleu1"]["protocol"] == PTB
    assert rows["text_quality/length"]["protocol"] == "text/quality@1" and "low" in rows["text_quality/length"]


def test_samples_of_a_release_can_be_the_references(tmp_path: Path) -> None:
    samples = [
        Sample(
            id=f"{n}:0", images=(Path(f"/data/{n}"),), instruction="", responses=tuple(t), task="caption", source="x"
        )
        for n, t in CAPTIONS.items()
    ]
    known = References(samples=tuple(samples), names={"image": tuple(CAPTIONS)})
    report = score_files(
        protocol=PTB, predictions=predictions("coco", tmp_path), references=known, draws=0, prefix="generated/"
    )
    assert values(report)["bleu1"] == pytest.approx(BLEU_1, abs=1e-3)
    assert report["protocol"] == "generated/" + PTB and {r["protocol"] for r in report["results"]} == {
        report["protocol"]
    }


def test_a_release_can_be_typed() -> None:
    cfg = compose(["protocol=vqa/rsvqa@1", "predictions=p.jsonl", "data=rsvqa_lr"], name="score")
    assert cfg.data.name == "rsvqa_lr" and cfg.references is None


@pytest.mark.slow
def test_the_command_line(tmp_path: Path) -> None:
    """json alone on standard output; a user's mistake is one line without a traceback."""
    truth, given = references("karpathy", tmp_path), predictions("coco", tmp_path)
    command = [sys.executable, "-m", "rsmoe.score", f"protocol={PTB}", f"predictions={given}"]
    done = subprocess.run([*command, f"references={truth}", "draws=50", "json=true"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert values(report)["bleu1"] == pytest.approx(BLEU_1, abs=1e-3)
    failed = subprocess.run(command, capture_output=True, text=True)
    assert failed.returncode != 0 and "give the references once" in failed.stderr and "Traceback" not in failed.stderr
