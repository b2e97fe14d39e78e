"""Rows of references and answers out of files that other programs wrote: which key holds the answer, which the truth.

=====================  ====================================================================  ==========================
written by             a row                                                                 answer, id
=====================  ====================================================================  ==========================
rsmoe                  id, task, kind, text                                                  text, id
COCO captions          image_id, caption                                                     caption, image_id
COCO VQA results       question_id, answer                                                   answer, question_id
GeoChat, RSVQA         question_id, image_id, answer (ground_truth, type)                    answer, question_id
VRSBench               question_id, image_id, question, ground_truth, type, answer           answer, question_id
LLaVA                  question_id, prompt, text, answer_id, model_id, metadata              text, question_id
lmms-eval              doc_id, doc, target, arguments, resps, filtered_resps                 filtered_resps, doc_id
VLMEvalKit             index, question, A, B ..., answer (the truth), category, prediction   prediction, index
ms-swift               response, labels (the truth), messages, images                        response, by order
Hugging Face pipeline  generated_text                                                        generated_text, by order
OpenAI batch           custom_id, response.body.choices[0].message.content, error            the content, custom_id
MiniGPT-v2, SkyEyeGPT  {id: [answer]}                                                        the only one, the key
OpenCompass            {index: {prediction, gold}}                                           prediction, the key
=====================  ====================================================================  ==========================

A row may hold several of the keys: the first of `ANSWERS` (or of `TRUTHS`) that is there counts, even where it is null,
so that a truth is never taken for an answer. Rows may stand in a .jsonl, a list in a .json, the only list of objects in
a .json object ("logs", "answers", "results"), a .csv or a .tsv.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rsmoe.data.files.csv_files import read_csv
from rsmoe.data.files.json_text import read_json, read_jsonl
from rsmoe.data.files.text_files import stripped
from rsmoe.data.files.values import is_missing, shown, text_of, written_text
from rsmoe.errors import UserError

ANSWERS = (
    *("prediction", "response", "filtered_resps", "resps", "generated_text", "text", "caption", "answer"),
    *("pred", "predict", "output", "model_output", "model_answer"),
)
"""Keys of an answer; the first that a row has. "answer" stands late: where another one is there, it is the truth."""

TRUTHS = (
    *("references", "responses", "captions", "ground_truth", "target", "gold", "gt", "caption", "reference", "answers"),
    *("answer", "labels"),
)
"""Keys of what is right."""

KINDS = ("kind", "type", "question_type", "category")
"""Keys of the type of a question."""

Rows = list[tuple[str, dict[str, Any]]]
"""(place for messages, row)."""


def file_rows(path: Path) -> Rows | Mapping[str, Any]:
    """Rows of any of the layouts above, or an object of another one as it is.

    Raises:
        UserError: for a file that cannot be read, a suffix of a table that has to be converted, rows that are none.
    """
    suffix = path.suffix.lower()
    if suffix in (".xlsx", ".xls", ".parquet", ".pkl", ".pickle", ".ods"):
        raise UserError(
            f'{path.name}: tables of {suffix} are not read. Save it as .tsv or .csv: python -c "import pandas; '
            f"pandas.read_{'excel' if suffix[1] in 'xo' else 'parquet' if suffix == '.parquet' else 'pickle'}"
            f"('{path}').to_csv('{path.stem}.tsv', sep='\\t', index=False)\""
        )
    if suffix in (".csv", ".tsv"):
        return [(where, dict(row)) for where, row in read_csv(path)]
    if suffix in (".jsonl", ".ndjson"):
        return [_row(where, row) for where, row in read_jsonl(path)]
    content = read_json(path)
    if isinstance(content, dict):
        if content and all(isinstance(value, dict) for value in content.values()):
            return [(f"{path.name}, {key!r}", {**row, "id": key}) for key, row in content.items()]
        listed = [k for k, v in content.items() if isinstance(v, list) and v and all(isinstance(r, dict) for r in v)]
        if "images" in content or len(listed) != 1:
            return content
        return [(f"{path.name}, {listed[0]}[{i}]", row) for i, row in enumerate(content[listed[0]])]
    if not isinstance(content, list):
        raise UserError(f"{path.name}: expected rows, a list of objects, found {shown(content)}")
    return [_row(f"{path.name}, [{i}]", row) for i, row in enumerate(content)]


def has_answer(row: Mapping[str, Any]) -> bool:
    """Whether a row has a key of `ANSWERS`."""
    return any(key in row for key in ANSWERS)


def answer_of(row: Mapping[str, Any], where: str) -> str:
    """The answer of a row, "" where it is null, NaN, an empty list, or the request failed (OpenAI's "error").

    Raises:
        UserError: for several answers, and for values that are no text.
    """
    key = next((key for key in ANSWERS if key in row), None)
    if key is None:
        raise UserError(
            f"{where}: no prediction; expected one of the keys text, {', '.join(k for k in ANSWERS if k != 'text')}, "
            f"found {', '.join(row) or '(none)'}"
        )
    value = row[key]
    if key == "response" and isinstance(value, dict):  # OpenAI's batches
        value = _content(value, where)
    elif key == "generated_text" and isinstance(value, list) and value and isinstance(value[-1], dict):
        value = value[-1].get("content")  # a chat: the last message is the answer
    while isinstance(value, list):
        if len(value) > 1:
            raise UserError(f"{where}: {key!r} has {len(value)} predictions: give one")
        value = value[0] if value else None
    return "" if is_missing(value) else text_of(value, f"{where}: {key!r}", number=True)


def truths_of(row: Mapping[str, Any], where: str) -> tuple[str, ...]:
    """Every reference of a row that is not empty; none where no key holds one.

    Raises:
        UserError: for a reference that is no text: NaN, null among others, true, a list, an object.
    """
    found: Any = next((row[key] for key in TRUTHS if not is_missing(row.get(key)) and _may_be_truth(key, row)), [])
    listed = found if isinstance(found, list) else [found]
    texts = (one["answer"] if isinstance(one, dict) and "answer" in one else one for one in listed)
    return tuple(filter(None, (written_text(text, f"{where}: a reference") for text in texts)))


def kind_of(row: Mapping[str, Any], where: str) -> str:
    """The type of a question: "kind", or the first other key of `KINDS` that holds a text; "" without."""
    if not is_missing(row.get("kind")):
        return text_of(row["kind"], f"{where}: 'kind'", number=True)
    return next((stripped(row[key]) for key in KINDS if isinstance(row.get(key), str)), "")


def options_of(row: Mapping[str, Any], where: str) -> dict[str, str]:
    """Letter -> text of a question with choices, from "options" or VLMEvalKit's columns "A", "B" ...; else empty."""
    given = row.get("options")
    if given is None:
        given = {key: row[key] for key in "ABCDEFGHIJ" if not is_missing(row.get(key)) and row[key] != ""}
    elif not isinstance(given, dict):
        raise UserError(f"{where}: expected options as {{letter: text}}, found {shown(given)}")
    return {key: text_of(value, f"{where}: option {key!r}", number=True) for key, value in given.items()}


def _may_be_truth(key: str, row: Mapping[str, Any]) -> bool:
    return key != "labels" or not isinstance(row[key], list)  # a list of labels belongs to boxes


def _content(response: Mapping[str, Any], where: str) -> Any:
    """What the model said; None where the request failed."""
    if not isinstance(body := response.get("body"), dict) or "choices" not in body:
        return None
    choices: Sequence[Any] = body["choices"]
    try:
        return choices[0]["message"]["content"]
    except (TypeError, KeyError, IndexError):
        raise UserError(f"{where}: expected response.body.choices[0].message.content, found {shown(choices)}") from None


def _row(where: str, row: Any) -> tuple[str, dict[str, Any]]:
    if isinstance(row, list) and len(row) == 1:  # a pipeline's answers to a list of pictures
        row = row[0]
    if not isinstance(row, dict):
        raise UserError(f"{where}: expected an object, found {shown(row)}")
    return where, row
