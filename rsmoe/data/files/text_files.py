"""Text out of files, the only way in which this library reads it: encodings, line ends, and limits.

A text is UTF-8, with or without a byte order mark, or has the mark of UTF-16 or UTF-32, as Excel and PowerShell write
it. Anything else is refused with the byte, the line and the command that converts it; so are NUL bytes. Lines end in
"\\n", "\\r\\n" or "\\r" and nowhere else: ``str.splitlines`` also splits at U+2028, U+0085 and six more, which stand in
captions.
"""

from __future__ import annotations

import codecs
import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from rsmoe.data.files.links import require_inside
from rsmoe.errors import UserError

MAX_BYTES = 2 << 30
"""Largest text that is read whole (.json, .txt, .xml): 2 GiB. Lines of a .jsonl and rows of a .csv have no such end."""

MAX_LINE = 64 << 20
"""Longest line, in characters."""

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_PACKED = (
    (b"\x1f\x8b", "compressed by gzip: gunzip -c {} > unpacked"),
    (b"PK\x03\x04", "a zip or a table of Excel: unzip it, or save the table as .csv in UTF-8"),
    (b"\x28\xb5\x2f\xfd", "compressed by zstd: zstd -dc {} > unpacked"),
    (b"BZh", "compressed by bzip2: bunzip2 -c {} > unpacked"),
    (b"\xfd7zXZ", "compressed by xz: xz -dc {} > unpacked"),
    (b"PAR1", 'a table of parquet: python -c "import pandas; pandas.read_parquet({!r}).to_csv({!r}, index=False)"'),
    (b"\xd0\xcf\x11\xe0", "a table of an old Excel: save it as .csv in UTF-8"),
)
"""How files begin that are no text, and what they are with the remedy."""

_ENDS = re.compile(r"\r\n|\r|\n")
_BLANK = "".join(c for c in map(chr, range(0x3001)) if c.isspace()) + "\u200b\u2060\ufeff"
"""White space of every script, and what is as invisible: zero-width spaces and a mark that was left inside a file."""


def stripped(text: str) -> str:
    """``text`` without white space, no-break and zero-width spaces at both ends: ids and answers are compared so."""
    return text.strip(_BLANK)


def require_file(path: Path) -> Path:
    """``path``, or a `UserError` with what its folder holds instead; no pipe, no device, no link out of the data."""
    if os.path.isfile(path):
        return require_inside(path)
    if os.path.isdir(path):
        raise UserError(f"{path} is a folder, expected a file. It holds: {contents(path)}")
    if os.path.exists(path):
        raise UserError(f"{path} is a pipe or a device, expected a file. Write its content into one first")
    if not os.path.isdir(path.parent):
        raise UserError(f"{path} does not exist: neither does the folder {path.parent}")
    raise UserError(f"{path} does not exist. {path.parent} holds: {contents(path.parent)}")


def contents(folder: Path) -> str:
    """What a folder holds, for messages: ten names, and how many more."""
    try:
        names = sorted(path.name for path in folder.iterdir())
    except OSError as error:
        return f"({error.strerror})"
    return (", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")) or "(nothing)"


def read_text(path: Path) -> str:
    """The whole of a text file, its lines ended by "\\n".

    Raises:
        UserError: for a file that is missing, cannot be read, is larger than `MAX_BYTES` or holds no text (naming the
            byte and the line).
    """
    try:
        if (size := require_file(path).stat().st_size) > MAX_BYTES:
            raise UserError(
                f"{path} has {size:,} bytes; a text that is read whole may have {MAX_BYTES:,}. Split it, or write "
                "one json object a line into a .jsonl, which has no such limit"
            )
        return decode(path.read_bytes(), str(path), path=path)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}). Give a file that you may read") from error


def read_lines(path: Path) -> list[str]:
    """The lines of a text file, stripped; blank ones stay, so that positions are line numbers."""
    return lines_of(read_text(path))


def lines_of(text: str) -> list[str]:
    """The lines of a text, `stripped`; what follows the last line end is one, if it is there."""
    lines = _ENDS.split(text)
    return [stripped(line) for line in (lines if lines[-1] else lines[:-1])]


def decode(content: bytes, where: str, *, path: Path | None = None) -> str:
    """The text of bytes that were read already: of a file, or of a member of an archive.

    Args:
        where: what it is called in the message.
        path: the file, for the command that converts it.
    """
    encoding = _encoding(content)
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        before = content[: error.start].decode(encoding, "replace")
        raise _no_text(where, encoding, error, error.start, len(_ENDS.findall(before)) + 1, path) from error
    if "\0" in text:
        raise _nul(where, len(_ENDS.findall(text[: text.index("\0")])) + 1, path)
    return _ENDS.sub("\n", text) if "\r" in text else text


def iter_lines(path: Path) -> Iterator[tuple[int, str]]:
    """(number from 1, line without its end) of a text file of any size, one line at a time.

    Raises:
        UserError: as `read_text`, and for a line longer than `MAX_LINE`.
    """
    number = 0
    encoding = "utf-8"
    try:
        with require_file(path).open("rb") as raw:
            encoding = _encoding(raw.read(4))
        with path.open(encoding=encoding, newline=None) as file:
            while line := file.readline(MAX_LINE + 1):
                number += 1
                if len(line) > MAX_LINE:
                    raise UserError(f"{path}, line {number}, is longer than {MAX_LINE:,} characters. Break it up")
                if "\0" in line:
                    raise _nul(str(path), number, path)
                yield number, line.removesuffix("\n")
    except UnicodeDecodeError as error:
        raise _locate(path, encoding, error) from error
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}). Give a file that you may read") from error


def _encoding(begin: bytes) -> str:
    return next((name for mark, name in _MARKS if begin.startswith(mark)), "utf-8")


def _locate(path: Path, encoding: str, error: UnicodeDecodeError) -> UserError:
    """The error of a file that was decoded piece by piece: the decoder knows the place within its piece only."""
    if encoding.startswith("utf-8"):
        place = 0
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                try:
                    line.decode()
                except UnicodeDecodeError as found:
                    return _no_text(str(path), encoding, found, place + found.start, number, path)
                place += len(line)
    return UserError(f"{path} is damaged {encoding.upper()} text ({error.reason}). Write it again as UTF-8")


def _no_text(
    where: str, encoding: str, error: UnicodeDecodeError, place: int, line: int, path: Path | None
) -> UserError:
    if packed := _packed(path):
        return packed
    name = encoding.removesuffix("-sig").upper()
    fault = (
        f"{where} is not {name} text ({error.reason} at byte {place}, line {line}: 0x{error.object[error.start]:02x})"
    )
    if path is None or name != "UTF-8":
        return UserError(f"{fault}. Write it again as UTF-8")
    if error.end >= len(error.object) and "unexpected end" in error.reason:
        return UserError(f"{fault}: it is cut off. Copy or download it again")
    file = shlex.quote(str(path))
    return UserError(
        f"{fault}. Convert it, naming the encoding it was written in: iconv -f latin1 -t utf-8 {file} > new"
        f"{shlex.quote(path.suffix)} (Windows: -f cp1252; Chinese: -f gbk)"
    )


def _packed(path: Path | None) -> UserError | None:
    """The error of a file that is an archive or a binary table under the name of a text."""
    if path is None:
        return None
    with path.open("rb") as file:
        head = file.read(8)
    said = next((said for begin, said in _PACKED if head.startswith(begin)), None)
    if said is None:
        return None
    file_, new = (str(path), f"{path.stem}.csv") if "{!r}" in said else (shlex.quote(str(path)), "")
    return UserError(f"{path} is no text but {said.format(file_, new)}")


def _nul(where: str, line: int, path: Path | None) -> UserError:
    if packed := _packed(path):
        return packed
    hint = "" if path is None else f": iconv -f utf-16le -t utf-8 {shlex.quote(str(path))} > new{path.suffix}"
    return UserError(
        f"{where} holds a NUL, line {line}: it is damaged, no text, or UTF-16 without its mark. Copy it again, or "
        f"convert it{hint}"
    )
