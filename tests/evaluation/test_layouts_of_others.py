"""Files of answers exactly as other programs write them, scored as they are; and what cannot be told apart is said."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from rsmoe.errors import UserError
from rsmoe.evaluation.formats.layouts import read_predictions, read_references
from rsmoe.evaluation.score_files import score_files

QUESTIONS = (("P1.png", "How many ships?", "2"), ("P1.png", "Is there a road?", "yes"), ("P2.png", "Where?", "top"))
SAID = ("2", "no", "top")
"""Two of three are right. Two questions are about one picture, so that its name is no id."""


def write(path: Path, content: Any) -> Path:
    if isinstance(content, str):
        path.write_text(content)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in content))
    else:
        path.write_text(json.dumps(content))
    return path


def openai(i: int, said: str) -> dict[str, Any]:
    message = {"role": "assistant", "content": said, "refusal": None}
    body = {"id": f"chatcmpl-{i}", "object": "chat.completion", "choices": [{"index": 0, "message": message}]}
    return {
        "id": f"batch_req_{9 - i}",
        "custom_id": str(i),
        "response": {"status_code": 200, "request_id": f"r{i}", "body": body},
        "error": None,
    }


def tables(separator: str) -> str:
    head = separator.join(["index", "image_path", "question", "answer", "category", "prediction"])
    rows = [separator.join([str(i), *QUESTIONS[i], "position", SAID[i]]) for i in (2, 0, 1)]
    return "\n".join([head, *rows]) + "\n"


def rows(form: Any) -> list[Any]:
    return [form(i, *QUESTIONS[i], SAID[i]) for i in (2, 0, 1)]  # programs that work in parallel keep no order


FORMS: dict[str, tuple[str, Any]] = {
    "GeoChat, RSVQA": ("a.jsonl", rows(lambda i, image, q, t, a: {"question_id": i, "image_id": image, "answer": a})),
    "GeoChat, with the truth": (
        "a.jsonl",
        rows(
            lambda i, image, q, t, a: {
                **{"question_id": i, "image_id": image, "question": q, "answer": a, "ground_truth": t},
                **{"type": "object quantity", "dataset": "DOTA"},
            }
        ),
    ),
    "VRSBench": (
        "a.json",
        rows(
            lambda i, image, q, t, a: {
                **{"question_id": i, "image_id": image, "question": q, "ground_truth": t, "answer": a, "type": "x"}
            }
        ),
    ),
    "LLaVA": (
        "answers.jsonl",
        rows(
            lambda i, image, q, t, a: {
                **{"question_id": i, "prompt": q, "text": a, "answer_id": f"sh0rt{i}", "model_id": "llava-1.5-7b"},
                "metadata": {},
            }
        ),
    ),
    "lmms-eval samples": (
        "samples_vrs.jsonl",
        rows(
            lambda i, image, q, t, a: {
                **{"doc_id": i, "doc": {"question_id": i}, "target": t, "arguments": [[q, {"until": ["\n"]}]]},
                **{"resps": [[f"{a} because"]], "filtered_resps": [a], "doc_hash": f"{i:064x}", "exact_match": 1.0},
            }
        ),
    ),
    "lmms-eval logs": (
        "vrs.json",
        {
            "args": {"model": "llava"},
            "model_configs": {"task": "vrs"},
            "logs": rows(lambda i, image, q, t, a: {"doc_id": i, "target": t, "resps": [[a]], "filtered_resps": [a]}),
        },
    ),
    "VLMEvalKit tsv": ("a.tsv", tables("\t")),
    "VLMEvalKit csv": ("a.csv", tables(",")),
    "VLMEvalKit json": (
        "a.json",
        rows(lambda i, image, q, t, a: {"index": i, "question": q, "answer": t, "prediction": a, "category": "p"}),
    ),
    "COCO VQA results": ("r.json", rows(lambda i, image, q, t, a: {"question_id": i, "answer": a})),
    "RSVQA's answers": (
        "x_answers.json",
        {"answers": rows(lambda i, image, q, t, a: {"id": 100 + i, "question_id": i, "answer": a, "active": True})},
    ),
    "OpenAI batch": ("batch_output.jsonl", rows(lambda i, image, q, t, a: openai(i, a))),
    "MiniGPT-v2, SkyEyeGPT": ("a.json", {str(i): [SAID[i]] for i in (2, 0, 1)}),
    "OpenCompass": ("a.json", {str(i): {"origin_prompt": "x", "prediction": SAID[i], "gold": "-"} for i in range(3)}),
    "ours": ("p.jsonl", rows(lambda i, image, q, t, a: {"id": str(i), "task": "vqa", "kind": "x", "text": a})),
    "pandas": ("p.jsonl", rows(lambda i, image, q, t, a: {"id": float(i), "image": image, "text": a})),
}


def references(folder: Path, **more: Any) -> Path:
    truth = [
        {"question_id": i, "image_id": image, "question": q, "ground_truth": t, "type": "x", **more}
        for i, (image, q, t) in enumerate(QUESTIONS)
    ]
    return write(folder / "questions.json", truth)


def overall(predictions: Path, references: Path, protocol: str = "vqa/exact@1") -> tuple[float, int]:
    report = score_files(protocol=protocol, predictions=predictions, references=references, draws=0)
    (row,) = [row for row in report["results"] if row["metric"].endswith("/overall")]
    return row["value"], row["parse_failures"]


@pytest.mark.parametrize("form", FORMS)
def test_answers_to_questions(tmp_path: Path, form: str) -> None:
    name, content = FORMS[form]
    assert overall(write(tmp_path / name, content), references(tmp_path)) == (pytest.approx(200 / 3), 0)


@pytest.mark.parametrize("form", ["GeoChat, with the truth", "VRSBench", "lmms-eval samples", "lmms-eval logs"])
def test_one_file_holds_the_answers_and_the_truth(tmp_path: Path, form: str) -> None:
    name, content = FORMS[form]
    path = write(tmp_path / name, content)
    assert overall(path, path) == (pytest.approx(200 / 3), 0)
    assert overall(path, references(tmp_path)) == (pytest.approx(200 / 3), 0)


@pytest.mark.parametrize("name", ["a.tsv", "a.json"])
def test_vlmevalkit_with_choices(tmp_path: Path, name: str) -> None:
    table = [
        {
            "index": 3,
            "question": "Which?",
            "A": "road",
            "B": "river",
            "answer": "B",
            "prediction": "B",
            "category": "c",
        },
        {
            "index": 7,
            "question": "Which?",
            "A": "sea",
            "B": "land",
            "answer": "A",
            "prediction": "land",
            "category": "d",
        },
    ]
    text = "\n".join("\t".join(map(str, row)) for row in [table[0].keys(), *(row.values() for row in table)])
    path = write(tmp_path / name, text if name.endswith("tsv") else table)
    assert overall(path, path, "vqa/multiple-choice@1") == (50, 0)
    known = read_references(path, task="vqa", split="test").samples
    assert [(s.id, s.kind, s.meta["options"]["A"]) for s in known] == [("3", "c", "road"), ("7", "d", "sea")]


def test_rows_without_an_id_are_in_order(tmp_path: Path) -> None:
    swift = [
        {
            "response": said,
            "labels": truth,
            "logprobs": None,
            "messages": [{"role": "user", "content": f"<image>{q}"}, {"role": "assistant", "content": said}],
            "images": [{"bytes": None, "path": f"/data/{image}"}],
        }
        for (image, q, truth), said in zip(QUESTIONS, SAID, strict=True)
    ]
    path = write(tmp_path / "infer_result.jsonl", swift)
    assert overall(path, references(tmp_path)) == overall(path, path) == (pytest.approx(200 / 3), 0)
    with pytest.raises(UserError, match=r"line 1: rows without an id .* is about 'top' and reference '0' says '2'"):
        overall(write(tmp_path / "p.jsonl", swift[::-1]), references(tmp_path))
    with pytest.raises(UserError, match=r"no id; expected one of .*there are 2 for 3"):
        overall(write(tmp_path / "p.jsonl", swift[:2]), references(tmp_path))
    for pipeline in (
        [{"generated_text": said} for said in SAID],
        [[{"generated_text": said}] for said in SAID],
        [
            {
                "input_text": [],
                "generated_text": [{"role": "user", "content": "?"}, {"role": "assistant", "content": s}],
            }
            for s in SAID
        ],
    ):
        path = write(tmp_path / "pipeline.json", pipeline)
        assert overall(path, references(tmp_path)) == (pytest.approx(200 / 3), 0)


def test_captions(tmp_path: Path) -> None:
    truth = write(tmp_path / "r.json", [{"image_id": f"P{i}.png", "captions": ["a port", "a sea"]} for i in range(3)])
    coco = write(tmp_path / "c.json", [{"id": 9 - i, "image_id": f"P{i}.png", "caption": "a port"} for i in range(3)])
    vrsbench = write(
        tmp_path / "v.json",
        [{"image_id": f"P{i}.png", "question_id": 7, "ground_truth": "x", "answer": "a port"} for i in range(3)],
    )
    for path in (coco, vrsbench):
        report = score_files(protocol="caption/coco-ptb@1", predictions=path, references=truth, draws=0)
        assert report["results"][0]["value"] == pytest.approx(100, abs=1e-3)


# -- which key is the id --


def test_two_keys_that_fit_and_disagree_are_named(tmp_path: Path) -> None:
    truth = write(tmp_path / "r.json", [{"id": i, "question_id": i + 10, "answer": "x"} for i in range(3)])
    given = [{"id": 2 - i, "question_id": i + 10, "answer": "x"} for i in range(3)]
    with pytest.raises(UserError, match=r"both 'id' .* and 'question_id' .* fit, .* different references. Remove one"):
        overall(write(tmp_path / "p.json", given), truth)
    assert (
        overall(write(tmp_path / "p.json", [row | {"id": row["question_id"] - 10} for row in given]), truth)[0] == 100
    )
    running = [{"index": i, "question_id": 12 - i, "answer": "x"} for i in range(3)]
    assert overall(write(tmp_path / "p.json", running), truth)[0] == 100  # the references have a question_id
    two = write(tmp_path / "r.json", [{"id": i, "answer": "x"} for i in range(3)])
    crossed = [{"index": i, "doc_id": 2 - i, "answer": "x"} for i in range(3)]
    with pytest.raises(UserError, match=r"both 'doc_id' .* and 'index' .* fit"):
        overall(write(tmp_path / "p.json", crossed), two)


def test_ids_that_are_no_ids(tmp_path: Path) -> None:
    truth = references(tmp_path)
    same = [{"image_id": image, "answer": said} for (image, *_), said in zip(QUESTIONS, SAID, strict=True)]
    with pytest.raises(UserError, match="prediction ids that occur twice"):
        overall(write(tmp_path / "p.json", same), truth)
    with pytest.raises(UserError, match=r"'image_id' has 2 values for 3 rows \('P1.png' twice\). Give each row"):
        overall(truth, write(tmp_path / "r.json", same))
    for value, message in (
        (math.nan, "p.json, \\[1\\]: 'question_id': expected .* found NaN"),
        (None, "found null"),
        (True, "found true"),
        ([1], "found a list"),
        ({"a": 1}, "found an object"),
        (1.5, "found 1.5"),
        ("", "the id is empty"),
        ("007", r"predictions without a sample \(007\)"),
        ("nowhere", r"samples without a prediction \(1\).*predictions without a sample \(nowhere\)"),
    ):
        given = [{"question_id": value if i == 1 else i, "answer": said} for i, said in enumerate(SAID)]
        with pytest.raises(UserError, match=message):
            overall(write(tmp_path / "p.json", given), truth)
    given = [{"question_id": i, "answer": said} if i else {"answer": said} for i, said in enumerate(SAID)]
    with pytest.raises(UserError, match=r"p.json, \[0\]: no id: the other rows have 'question_id'"):
        overall(write(tmp_path / "p.json", given), truth)


def test_ids_are_one_in_every_spelling_of_their_accents(tmp_path: Path) -> None:
    truth = write(tmp_path / "r.json", [{"id": "caf\u00e9.png", "answer": "x"}, {"id": "7", "answer": "y"}])
    given = write(tmp_path / "p.json", [{"id": 7.0, "text": "y"}, {"id": " cafe\u0301.png\u200b", "text": "x"}])
    assert overall(given, truth)[0] == 100
    twice = write(tmp_path / "p.json", [{"id": i, "text": "y"} for i in (7, "7", "caf\u00e9.png")])
    with pytest.raises(UserError, match=r"prediction ids that occur twice \(7\)"):
        overall(twice, truth)


# -- which value is a text --


@pytest.mark.parametrize("value", [math.nan, None, [], "", [math.nan], "\u200b"])
def test_a_missing_answer_is_an_empty_one(tmp_path: Path, value: Any) -> None:
    for key in ("answer", "text", "prediction", "response", "generated_text"):
        given = [{"question_id": i, key: value if i == 1 else said} for i, said in enumerate(SAID)]
        assert overall(write(tmp_path / "p.json", given), references(tmp_path)) == (pytest.approx(200 / 3), 1)


def test_a_missing_answer_is_never_taken_from_the_truth(tmp_path: Path) -> None:
    rows = [{"index": i, "answer": t, "prediction": None} for i, (_, _, t) in enumerate(QUESTIONS)]
    path = write(tmp_path / "p.json", rows)
    assert overall(path, path) == (0, 3)
    failed = [openai(i, said) for i, said in enumerate(SAID)]
    failed[1] |= {"response": None, "error": {"code": "server_error"}}
    failed[2]["response"]["body"] = {"error": {"message": "too long"}}
    assert overall(write(tmp_path / "b.jsonl", failed), references(tmp_path)) == (pytest.approx(100 / 3), 2)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (True, "expected a text or a number, found true"),
        ({"a": "yes"}, "found an object"),
        (["yes", "no"], "has 2 predictions: give one"),
        ([["a", "b"]], "has 2 predictions"),
        (math.inf, "found inf"),
        ("\ud800", "half of a character"),
    ],
)
def test_answers_that_are_no_text(tmp_path: Path, value: Any, message: str) -> None:
    given = [{"question_id": i, "answer": value if i == 1 else said} for i, said in enumerate(SAID)]
    with pytest.raises(UserError, match=message) as error:
        overall(write(tmp_path / "p.json", given), references(tmp_path))
    assert "p.json" in str(error.value)


@pytest.mark.parametrize(
    "value", [math.nan, None, True, {}, {"a": 1}, [], "", " ", [math.nan], ["a", None], [["a"]], math.inf]
)
def test_references_that_are_no_text(tmp_path: Path, value: Any) -> None:
    rows = [{"id": i, "references": value if i == 1 else ["x"]} for i in range(2)]
    given = write(tmp_path / "p.json", [{"id": i, "text": "x"} for i in range(2)])
    with pytest.raises(UserError, match=r"r.json, \[1\]"):
        overall(given, write(tmp_path / "r.json", rows))


def test_numbers_are_answers(tmp_path: Path) -> None:
    truth = write(tmp_path / "r.json", [{"id": i, "answer": v} for i, v in enumerate((2023, 3, 0.45, "nan"))])
    given = write(tmp_path / "p.json", [{"id": i, "text": v} for i, v in enumerate(("2023", 3.0, "0.45", "nan"))])
    assert overall(given, truth) == (100, 0)


@pytest.mark.parametrize("text", ["['a port', 'a sea']", '["a port"]', "['a port',]"])
def test_a_list_in_a_cell_is_no_reference(tmp_path: Path, text: str) -> None:
    """As pandas writes a column of lists; what a model said may look like anything."""
    truth = tmp_path / "r.csv"
    truth.write_text('id,captions\n0,"' + text.replace('"', '""') + '"\n')
    with pytest.raises(UserError, match="a list that was written as one"):
        read_references(truth, task="caption", split="test")
    truth = write(tmp_path / "r.json", [{"id": 0, "answer": "[refer] 'ships'"}])
    assert overall(write(tmp_path / "p.json", [{"id": 0, "text": text}]), truth)[0] == 0


def test_ids_of_questions_are_no_lists(tmp_path: Path) -> None:
    given = write(tmp_path / "p.json", [{"question_id": [i], "answer": "2"} for i in (2, 1, 0)])
    with pytest.raises(UserError, match="'question_id': expected .*a list"):
        overall(given, references(tmp_path))


def test_ids_that_are_paths_of_windows(tmp_path: Path) -> None:
    truth = write(tmp_path / "r.json", [{"image": f"x/{i}.png", "answer": str(i)} for i in range(3)])
    given = write(tmp_path / "p.json", [{"image": f"x\\{i}.png", "text": str(i)} for i in (2, 0, 1)])
    assert overall(given, truth) == (100, 0)


def test_a_comparison_that_is_not_there(tmp_path: Path) -> None:
    truth = write(tmp_path / "r.json", [{"id": 0, "answer": "2"}])
    with pytest.raises(UserError, match=r"absent.json does not exist"):
        score_files(protocol="vqa/exact@1", predictions=truth, references=truth, compare=tmp_path / "absent.json")


# -- whole files --


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("p.xlsx", "PK", r"tables of .xlsx are not read. Save it as .tsv .*read_excel\('.*p.xlsx'\).to_csv\('p.tsv'"),
        ("p.json", [], "holds no prediction"),
        ("p.jsonl", "", "holds no prediction"),
        ("p.txt", "", "0 lines for 3 references"),
        ("p.json", "", "is not json"),
        ("p.json", '{"question_id": 0}\n{"question_id": 1}\n', "call it .jsonl"),
        ("p.json", 5, "expected rows"),
        ("p.json", ["a"], r"p.json, \[0\]: expected an object, found 'a'"),
        ("p.csv", "question_id;answer\n0;2\n", "separated by semicolons"),
        (
            "p.json",
            [{"question_id": 0, "guess": "2"}] * 3,
            "no prediction; expected one of .* found question_id, guess",
        ),
        ("p.json", '[{"question_id": 0, "answer": "2", "answer": "3"}]', "has the key 'answer' twice"),
    ],
)
def test_files_that_cannot_be_scored(tmp_path: Path, name: str, content: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        overall(write(tmp_path / name, content), references(tmp_path))


def test_lines_end_with_blank_ones(tmp_path: Path) -> None:
    truth = write(tmp_path / "r.txt", "2\nyes\ntop\n\n\n")
    assert overall(write(tmp_path / "p.txt", "2\nyes\n\n\n\n"), truth) == (pytest.approx(200 / 3), 1)
    with pytest.raises(UserError, match="gap.txt, line 2.*no reference"):
        overall(write(tmp_path / "p.txt", "2\nyes\ntop\n"), write(tmp_path / "gap.txt", "2\n\ntop\n"))
    known = read_references(truth, task="caption", split="test")
    (tmp_path / "p.txt").write_bytes("\ufeffa\u2028b\r\nc\r\nd".encode())
    said = read_predictions(tmp_path / "p.txt", known, task="caption")
    assert [one.text for one in said] == ["a\u2028b", "c", "d"]


def test_the_protocol_the_split_and_the_arrays_of_a_file(tmp_path: Path) -> None:
    truth = write(tmp_path / "r.json", [{"id": i, "answer": "x", "split": "val"} for i in range(2)])
    given = write(tmp_path / "p.json", [{"id": i, "text": "x"} for i in range(2)])
    with pytest.raises(UserError, match="no split 'test'; type one of: split=val"):
        overall(given, truth)
    truth = references(tmp_path)
    given = write(tmp_path / "p.json", [{"question_id": i, "answer": "x"} for i in range(3)])
    for protocol, message in (
        ("ground/hbb@1", "does not say how its boxes are written"),
        ("mask/giou@1", "is of task 'mask' and has no mask"),
        ("vqa/multiple-choice@1", "has no options"),
        ("change/counts@1", "does not say a count"),
        ("change-caption/ptb@1", "under protocol change-caption/ptb@1: kinds of change captions are"),
        ("5", "unknown protocol '5'"),
    ):
        with pytest.raises(UserError, match=message):
            score_files(protocol=protocol, predictions=given, references=truth, draws=0)
    for key, value, message in (
        ("image_embedding", [math.nan, 1.0], "'image_embedding': expected a list of numbers"),
        ("image_embedding", ["a"], "expected a list of numbers"),
        ("image_embedding", {"a": 1}, "expected a list of numbers"),
        ("text_embeddings", [[1.0], [1.0, 2.0]], "all of one length"),
        ("text_embeddings", [[math.inf]], "lists of numbers"),
        ("ranking", "abc", "'ranking': expected a list"),
        ("masks", [{"size": [2, 2], "counts": "!!"}], r"p.json, \[0\]: '!' at place 0"),
        ("mask", {"size": [2], "counts": "1"}, r"p.json, \[0\]: expected the size of a mask"),
    ):
        rows = [{"question_id": i, "text": "x", **({key: value} if i == 0 else {})} for i in range(3)]
        with pytest.raises(UserError, match=message):
            overall(write(tmp_path / "p.json", rows), truth)
    for key, value in (
        ("boxes_px", [[1, 2, 3]]),
        ("boxes_px", [[1, 2, 3, math.nan]]),
        ("options", ["a"]),
        ("kind", []),
    ):
        with pytest.raises(UserError, match=rf"questions.json, \[0\]: .*{key}"):
            overall(given, references(tmp_path, **{key: value}))
