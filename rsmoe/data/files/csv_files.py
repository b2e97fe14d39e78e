"""Tables out of CSV and TSV files."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from rsmoe.data.files.text_files import iter_lines, stripped
from rsmoe.errors import UserError

_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}


def read_csv(path: Path, *, columns: Sequence[str] = ()) -> Iterator[tuple[str, dict[str, str]]]:
    """(place for messages, cells by column) of every row, the cells `stripped`; a .tsv is separated by tabs.

    "nan" and "NaN" in a cell are words; an empty cell is what pandas writes for a missing value. A column without a
    name, as pandas writes its index, is left out, and so are rows of empty cells and Excel's first line "sep=,". A cell
    may be quoted after a blank: ``a.png, "sea, land"``.

    Args:
        columns: names that have to be there.

    Raises:
        UserError: for a file that `iter_lines` refuses, other separators (naming them), columns that are missing or
            there twice, a row with more or fewer cells than names, quotes that do not close, and cells longer than
            `csv.field_size_limit`.
    """
    wanted = "\t" if path.suffix.lower() == ".tsv" else ","
    lines = (f"{line}\n" for _, line in iter_lines(path))
    rows = csv.reader(lines, strict=True, delimiter=wanted, skipinitialspace=True)
    try:
        first = next(rows, [])
        if first and first[0].lower() == "sep=" and not any(first[1:]):  # Excel's own line, "sep=,"
            first = next(rows, [])
        names = [stripped(name) for name in first]
        _check_names(path, names, wanted, columns)
        for row in rows:
            if not any(map(stripped, row)):  # Excel saves the rows below a table too
                continue
            where = f"{path.name}, line {rows.line_num}"
            if len(row) != len(names):
                raise UserError(
                    f"{where}: expected {len(names)} cells: quote texts with a {'tab' if wanted != ',' else 'comma'}; "
                    f"found {len(row)}"
                )
            yield where, {name: stripped(cell) for name, cell in zip(names, row, strict=True) if name}
    except csv.Error as error:
        raise UserError(
            f"{path} is not a CSV: {error}, line {rows.line_num}. Close its quotes and double those inside of a text; "
            f"a cell may have {csv.field_size_limit():,} characters (a .jsonl has no such limit)"
        ) from error


def _check_names(path: Path, names: list[str], wanted: str, columns: Sequence[str]) -> None:
    found = next((separator for separator in _SEPARATORS if len(names) == 1 and separator in names[0]), None)
    if found is not None and wanted == ",":
        raise UserError(
            f"{path.name} is separated by {_SEPARATORS[found]} ({found!r}), expected commas. "
            + ("Call it .tsv" if found == "\t" else "Save it as 'CSV (comma delimited)', or write a .jsonl")
        )
    if twice := sorted({name for name in names if name and names.count(name) > 1}):
        raise UserError(f"{path.name} has the column {', '.join(twice)} twice. Keep one")
    if missing := sorted(set(columns) - set(names)):
        raise UserError(f"{path.name} has no column {', '.join(missing)}; found {', '.join(names) or '(none)'}")
