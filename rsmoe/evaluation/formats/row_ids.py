"""Which key of rows is their id: what tells them apart, and, of answers, what the references know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rsmoe.data.files.file_names import slashes
from rsmoe.data.files.values import id_of, same_id, shown
from rsmoe.errors import UserError
from rsmoe.evaluation.formats.answer_rows import Rows

_PICTURES = ("image_id", "image", "filename", "file_name", "image_path", "image_A", "img_id", "imgid")

IDS = ("id", "sample_id", "question_id", "questionId", "qid", "custom_id", "doc_id", "index", *_PICTURES)
"""Keys that may name a row, questions before pictures, which several questions share."""


def id_columns(rows: Rows) -> dict[str, list[str]]:
    """Key of `IDS` -> the ids of all rows under it, for every key that all of them have; none for rows without any.

    Raises:
        UserError: when rows have such keys, but none of them has an id in each row (naming the first that has none).
    """
    found: dict[str, list[str]] = {}
    fault: UserError | None = None
    for key in IDS:
        if not any(key in row for _, row in rows):
            continue
        if key in _PICTURES and all(isinstance(row.get(key, []), list | dict) for _, row in rows):
            continue  # a list of pictures is no id
        try:
            if not all(key in row for _, row in rows):
                lacking = next(where for where, row in rows if key not in row)
                raise UserError(f"{lacking}: no id: the other rows have {key!r}")
            found[key] = [id_of(row[key], f"{where}: {key!r}") for where, row in rows]
        except UserError as error:
            fault = fault or error
    if fault is not None and not found:
        raise fault
    return found


def unique_columns(columns: Mapping[str, Sequence[str]], file: str) -> dict[str, tuple[str, ...]]:
    """Those that tell all rows apart; `UserError` when none does, with what is there twice."""
    found = {key: tuple(ids) for key, ids in columns.items() if len(set(ids)) == len(ids)}
    if columns and not found:
        repeated = []
        for key, ids in columns.items():
            seen: set[str] = set()
            twice = next(i for i in ids if i in seen or seen.add(i))  # type: ignore[func-returns-value]
            repeated.append(f"{key!r} has {len(set(ids))} values for {len(ids)} rows ({shown(twice)} twice)")
        raise UserError(
            f"{file}: no key tells its rows apart: {'; '.join(repeated)}. Give each row an 'id' or 'question_id' of "
            "its own"
        )
    return found


def match_ids(
    columns: Mapping[str, Sequence[str]], known: Mapping[str, Sequence[str]], own: Sequence[str], file: str
) -> list[str]:
    """`Sample.id` of every row of answers.

    The key is one under which the ids are exactly those of the references, under their key of the same name or, where
    there is none, another; where no key is, one whose ids are some of theirs. Without such a key that with the most
    known ids is taken, and unknown ones stay as they are, for an error that names them. Ids are compared in Unicode's
    form NFC, and with "/" between the parts of a path.

    Args:
        columns: of the answers, see `id_columns`.
        known: key -> the names of all references under it.

    Raises:
        UserError: when two keys fit and give a row to different references.
    """
    if tuple(own) not in map(tuple, known.values()):
        known = {"id": own, **known}
    columns = {key: [_spelled(name) for name in names] for key, names in columns.items()}
    tables = {key: dict(zip(map(_spelled, names), own, strict=True)) for key, names in known.items()}
    tables = {key: table for key, table in tables.items() if len(table) == len(own)}
    pairs = [(key, other) for key in columns for other in tables]
    hits = {pair: len(tables[pair[1]].keys() & set(columns[pair[0]])) for pair in pairs}
    known_only = [pair for pair in pairs if hits[pair] == len(set(columns[pair[0]])) == len(columns[pair[0]])]
    whole = [pair for pair in known_only if hits[pair] == len(own)] or known_only
    fitting = [pair for pair in whole if pair[0] == pair[1]] or whole
    best = fitting or [max(pairs, key=lambda pair: (hits[pair], pair[0] == pair[1]))]
    found = [[tables[other].get(name, name) for name in columns[key]] for key, other in best]
    for (key, other), ids in zip(best, found, strict=True):
        if fitting and ids != found[0]:
            raise UserError(
                f"{file}: both {best[0][0]!r} (as the references' {best[0][1]!r}) and {key!r} (as their {other!r}) "
                "fit, and they give the answers to different references. Remove one of the two keys"
            )
    return found[0]


def _spelled(name: str) -> str:
    return same_id(slashes(name))
