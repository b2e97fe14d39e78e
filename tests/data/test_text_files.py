"""Encodings, line ends, limits and values that are no text: one battery over every reader of text."""

from __future__ import annotations

import copy
import gzip
import json
import math
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import formats
from support.readers import config
from support.readers import save as save_picture
from support.release_web_pairs import shard

from rsmoe.config import conf_dir
from rsmoe.data.files import text_files
from rsmoe.data.files.csv_files import read_csv
from rsmoe.data.files.json_text import MAX_DEPTH, MAX_DIGITS, parse_json, read_jsonl, read_rows
from rsmoe.data.files.values import id_of, is_number, text_of
from rsmoe.data.readers.annotations import captions_of, field, read_json, read_lines
from rsmoe.data.readers.own_table import OwnTable
from rsmoe.data.readers.own_webdataset import OwnWebdataset
from rsmoe.errors import UserError
from rsmoe.parts import instantiate

ODD = "a b\x0bc\x0cd\x1ce\x1df\x1eg\x85h\u2028i\u2029j"
"""One line: none of these characters ends one."""

GENERATED = {"scenes", "scene_changes", "scene_masks", "landmarks"}
NAMES = sorted({path.stem for path in (conf_dir() / "data").glob("*.yaml")} - GENERATED - {"shards"})
WORDS = {"nan", "NaN", "None", "null", "True", "False", "inf", "[]", "{}"}
VALUES = {"nan": math.nan, "null": None, "true": True, "list": [], "object": {}, "infinity": math.inf, "long": 10**30}
ENCODINGS = ("utf-8-sig", "utf-16", "utf-16-le-mark", "utf-16-be-mark", "utf-32")


def encoded(text: str, encoding: str) -> bytes:
    if encoding.endswith("-mark"):
        return ("\ufeff" + text).encode(encoding.removesuffix("-mark"))
    return text.encode(encoding)


# -- one file --


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", *ENCODINGS])
def test_encodings_and_line_ends(tmp_path: Path, encoding: str, end: str) -> None:
    def write(name: str, *rows: str) -> Path:
        path = tmp_path / name
        path.write_bytes(encoded(end.join(rows), encoding))
        return path

    assert read_lines(write("a.txt", ODD, " zwei ", "", "\u200bdrei\u00a0")) == [ODD, "zwei", "", "drei"]
    assert read_lines(write("a.txt", "a", "")) == ["a"] and read_lines(write("a.txt", "a", "", "")) == ["a", ""]
    assert read_json(write("a.json", "{", '"é": "' + "a\u2028b" + '"', "}")) == {"é": "a\u2028b"}
    rows = [json.dumps({"text": f"{i}\u2028é"}, ensure_ascii=False) for i in range(3)]
    found = read_jsonl(write("a.jsonl", rows[0], "", *rows[1:]))
    assert [where for where, _ in found] == [f"a.jsonl, line {i}" for i in (1, 3, 4)]
    assert [row["text"] for _, row in found] == ["0\u2028é", "1\u2028é", "2\u2028é"]
    table = list(read_csv(write("a.csv", "image,text", 'a.png,"one\u2028two, three"', "", "b.png,é")))
    assert [row["text"] for _, row in table] == ["one\u2028two, three", "é"]
    assert next(row for _, row in read_csv(write("a.tsv", "image\ttext", "a.png\tone, two")))["text"] == "one, two"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("gut\nSchön".encode("latin-1"), r"is not UTF-8 text \(.* at byte 7, line 2: 0xf6\).*iconv -f latin1 -t utf-8"),
        ("x\ny\n海港".encode("gbk"), r"at byte 4, line 3: 0xba\).*-f gbk"),
        ("é".encode()[:1], "cut off"),
        (b"a\x00b\n", "holds a NUL, line 1"),
        ("ab\n".encode("utf-16-le"), "UTF-16 without its mark.*iconv -f utf-16le"),
        (b"\xff\xfea", "is not UTF-16 text|damaged UTF-16 text"),
    ],
)
def test_what_is_no_text_is_named_with_its_byte_and_the_remedy(tmp_path: Path, content: bytes, message: str) -> None:
    for name, read in (("a.txt", read_lines), ("a.json", read_json), ("a.jsonl", read_jsonl), ("a.csv", read_csv)):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(UserError, match=message) as error:
            list(read(path))  # type: ignore[operator]
        assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_the_place_of_a_wrong_byte_far_into_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"a": "fine"}\n' * 5000 + b'{"a": "\xe9"}\n')
    with pytest.raises(UserError, match=rf"at byte {14 * 5000 + 7}, line 5001: 0xe9"):
        read_jsonl(path)


def test_marks_within_a_file(tmp_path: Path) -> None:
    """As ``cat a.jsonl b.jsonl`` leaves them."""
    path = tmp_path / "a.jsonl"
    path.write_text('\ufeff{"a": 1}\n\ufeff{"a": 2}\n', encoding="utf-8")
    assert [row["a"] for _, row in read_jsonl(path)] == [1, 2]
    path.write_text("\ufeffone\n\ufefftwo\n", encoding="utf-8")
    assert read_lines(path) == ["one", "two"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 1_000_000 + "]" * 1_000_000, rf"nested deeper than {MAX_DEPTH}"),
        ("[" * 1_000_000, rf"nested deeper than {MAX_DEPTH}"),
        ('{"a":' * 2000 + "1" + "}" * 2000, "nested deeper"),
        ('[1, "[[[[", {"n": ' + "9" * 10_000 + "}]", f"a number has more than {MAX_DIGITS} digits, 9999"),
        ('[\n{"a": "}{"},\n{"id": 1,\n "x": 2, "id": 3}]', r"an object has the key 'id' twice: \{'id': 3, 'x': 2\}"),
        ('[{"a": {"b": 1, "b": 1}}]', "key 'b' twice"),
        ('\n{"a": "\\ud800"}', r"line 2: \\ud800 is half of a character"),
        ('{"\\uDC00 x": 1}', "half of a character"),
        ('{"a": "\\ud800\\u0041"}', "half of a character"),
        ('{"a": 1}\n{"a": 2}', "call it .jsonl"),
        ("{'a': 1}", "is not json .*line 1, column 2"),
        ("", "is not json .*0 bytes"),
    ],
)
def test_limits_of_json(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        read_json(path)


def test_what_json_may_hold() -> None:
    deep = "[" * MAX_DEPTH + '"[[[\\"[{"' + "]" * MAX_DEPTH
    assert parse_json(deep, "x") and parse_json('{"a": "\\ud83d\\ude00"}', "x") == {"a": "😀"}
    assert parse_json(r'{"a": "C:\\udata"}', "x") == {"a": "C:\\udata"}
    assert parse_json("[1e999, NaN]", "x")[0] == math.inf and not is_number(math.inf)
    assert not is_number(10**400) and not is_number(True) and is_number(3)


def test_files_that_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "folder.json").mkdir()
    for path, message in (
        (tmp_path / "pipe.json", "is a pipe or a device"),
        (Path("/dev/zero"), "is a pipe or a device"),
        (tmp_path / "folder.json", "is a folder"),
        (tmp_path / "absent.json", "does not exist"),
        (tmp_path / ("x" * 300), "does not exist"),
    ):
        for read in (read_json, read_lines, read_rows):
            with pytest.raises(UserError, match=message):
                read(path)
    (tmp_path / "a.jsonl").write_text('{"a": 1}\n{"a": "' + 100 * "x" + '"}\n')
    monkeypatch.setattr(text_files, "MAX_LINE", 64)
    with pytest.raises(UserError, match=r"line 2, is longer than 64 characters"):
        read_jsonl(tmp_path / "a.jsonl")
    monkeypatch.setattr(text_files, "MAX_BYTES", 64)
    with pytest.raises(UserError, match=r"has 119 bytes; a text that is read whole may have 64.*\.jsonl"):
        read_lines(tmp_path / "a.jsonl")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image;answer\na.png;sea\n", "separated by semicolons .*expected commas"),
        ("sep=;\nimage;answer\n", "separated by semicolons"),
        ("image\tanswer\na.png\tsea\n", "separated by tabs .*Call it .tsv"),
        ("image,answer,answer\na.png,x,y\n", "has the column answer twice"),
        ('image,answer\na.png,"sea\nb.png,land\n', "is not a CSV: .*line 3. Close its quotes"),
        ('image,answer\na.png,"the "big" sea"\n', "is not a CSV: .*line 2"),
        ("image,answer\na.png," + "x" * 140_000 + "\n", "a cell may have 131,072 characters"),
        ("image,answer\na.png,x\x00\n", "holds a NUL, line 2"),
        ("image,answer\na.png\n", "line 2: expected 2 cells"),
    ],
)
def test_tables_that_are_none(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(UserError, match=message):
        list(read_csv(tmp_path / "a.csv"))


def test_tables_of_excel(tmp_path: Path) -> None:
    """A line that names the separator, rows below the table, and quotes after a blank."""
    (tmp_path / "a.csv").write_text('sep=,\nimage, answer\na.png, "sea, land"\n,\n , \nb.png, "port"\n,\n')
    rows = list(read_csv(tmp_path / "a.csv"))
    assert [row for _, row in rows] == [
        {"image": "a.png", "answer": "sea, land"},
        {"image": "b.png", "answer": "port"},
    ]
    assert [where for where, _ in rows] == ["a.csv, line 3", "a.csv, line 6"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (gzip.compress(b'{"a": 1}', mtime=0), "no text but compressed by gzip: gunzip -c .*a.jsonl > unpacked"),
        (b"PK\x03\x04\x14\0\x06\0", "a zip or a table of Excel"),
        (b"PAR1\x15\x04\xff", "a table of parquet: .*read_parquet"),
        (b"\x28\xb5\x2f\xfd\x04\xff", "compressed by zstd"),
    ],
)
def test_what_is_packed_says_how_to_unpack_it(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.jsonl").write_bytes(content)
    for read in (read_json, read_lines, read_rows):
        with pytest.raises(UserError, match=message):
            read(tmp_path / "a.jsonl")


def test_tables_of_pandas(tmp_path: Path) -> None:
    """The index is a column without a name, a missing value an empty cell, and "nan" a word."""
    (tmp_path / "a.csv").write_text(',image,answer\n0,a.png,nan\n1,b.png,\n2,c.png,"a ""big"" sea"\n')
    rows = [row for _, row in read_csv(tmp_path / "a.csv")]
    assert [row["answer"] for row in rows] == ["nan", "", 'a "big" sea'] and "" not in rows[0]


def test_texts_ids_and_numbers() -> None:
    assert [text_of(v, "x", number=True) for v in (2023, 3.0, 0.45, -1.0, "nan", " a\u200b")] == [
        *("2023", "3", "0.45", "-1", "nan", "a")
    ]
    assert {id_of(v, "x") for v in (7, 7.0, "7", " 7\ufeff")} == {"7"} and id_of("007", "x") == "007"
    assert id_of("cafe\u0301.png", "x") == id_of("caf\u00e9.png", "x")
    for value in (None, math.nan, math.inf, True, [], ["a"], {}, "\ud800", "a\x00b"):
        for check in (text_of, id_of):
            with pytest.raises(UserError, match="^here: expected"):
                check(value, "here")  # type: ignore[operator]
    for value in (3, 3.5):
        with pytest.raises(UserError, match="expected a text, found 3"):
            text_of(value, "here")
    with pytest.raises(UserError, match="expected an id.*found 3.5"):
        id_of(3.5, "here")
    with pytest.raises(UserError, match="expected a text, found NaN"):
        captions_of(["a", math.nan], "here")
    for value in (True, 10**30):
        with pytest.raises(UserError, match="'id' should be int"):
            field({"id": value}, "id", int, "here")


# -- one's own data --


@pytest.mark.parametrize("value", [*VALUES.values(), [math.nan], ["a", None], [["a"]]])
@pytest.mark.parametrize("key", ["image", "instruction", "answer", "task", "kind", "id", "split", "labels", "boxes"])
def test_own_rows_hold_no_words_that_nobody_wrote(tmp_path: Path, key: str, value: Any) -> None:
    save_picture(tmp_path / "a.png")
    row = {"image": "a.png", "instruction": "What?", "answer": "sea", "task": "vqa", key: value}
    (tmp_path / "train.jsonl").write_text(json.dumps(row))
    picture = (tmp_path / "a.png").read_bytes()
    shard(tmp_path / "train/0.tar", [{"jpg": picture, "json": json.dumps({"answer": "sea", key: value}).encode()}])
    for read in (
        lambda: OwnTable(root=str(tmp_path), split="train"),
        lambda: OwnTable(root=str(tmp_path), split="sea", table="train.jsonl"),
        lambda: OwnWebdataset(root=str(tmp_path), split="train", text="json"),
    ):
        try:
            spoken = texts(read()[0])
        except UserError as error:
            assert "\n" not in str(error)
        else:
            assert not WORDS & set(spoken), spoken


def test_captions_of_a_webdataset(tmp_path: Path) -> None:
    save_picture(tmp_path / "a.png")
    picture = (tmp_path / "a.png").read_bytes()
    members = [
        *(encoded(f"{ODD}\r\ntwo\r", encoding) for encoding in ("utf-8", *ENCODINGS)),
        "Schön".encode("latin-1"),
    ]
    shard(tmp_path / "train/0.tar", [{"jpg": picture, "txt": text} for text in members])
    data = OwnWebdataset(root=str(tmp_path), split="train")
    assert {data[i].responses for i in range(6)} == {(ODD, "two")}
    with pytest.raises(UserError, match=r"0:6: its text is not UTF-8 text .* at byte 3, line 1"):
        data[6]


# -- every reader --


class Release:
    """A tiny release, and how it is read again after one of its files was changed."""

    def __init__(self, name: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        formats.data_of(name, home, monkeypatch)
        self.node = config(name)
        if name == "geochat_instruct" or name in formats.FORMATS:
            made = formats.FORMATS[name](home.parent / "again")
            if isinstance(made, dict):
                self.node = {key: value for key, value in made.items() if key not in ("root", "split")}
        self.name, self.home = name, home
        kinds = (".json", ".jsonl", ".txt", ".csv", ".xml")
        self.files = sorted(path for path in home.rglob("*") if path.suffix in kinds)

    def read(self) -> list[tuple[str, ...]]:
        data = instantiate(self.node | formats.OPTIONS.get(self.name, {}), split=formats.SPLITS.get(self.name, "train"))
        return [texts(data[i]) for i in range(min(len(data), 40))]


def texts(sample: Any) -> tuple[str, ...]:
    spoken = (sample.id, sample.instruction, *sample.responses, sample.kind, *sample.labels, *sum(sample.history, ()))
    assert all(isinstance(text, str) for text in spoken)
    return spoken


@pytest.fixture(params=NAMES)
def release(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Release:
    for folder in ("home", "again"):
        (tmp_path / folder).mkdir()
    return Release(request.param, tmp_path / "home", monkeypatch)


def test_every_release_in_other_encodings(release: Release) -> None:
    plain = release.read()
    original = {path: path.read_text(encoding="utf-8") for path in release.files}
    for encoding, end in (("utf-8-sig", "\n"), ("utf-16", "\r\n"), ("utf-8", "\r")):
        for path, text in original.items():
            told = "utf-8-sig" if path.suffix == ".xml" and encoding == "utf-16" else encoding  # xml says its own
            path.write_bytes(text.replace("\n", end).encode(told))
        assert release.read() == plain, (encoding, end)
    odd = 0
    for path, text in original.items():
        changed = re.sub(r"(?<=[a-z]) (?=[a-z]+[ .])", "\u2028", text) if path.suffix == ".json" else text
        path.write_text(changed, encoding="utf-8")
        odd += changed != text
    try:
        changed_samples = release.read()
    except UserError as error:
        assert odd and "\n" not in str(error)  # a name of a file or a class has changed too
    else:
        assert len(changed_samples) == len(plain)


def test_every_release_with_a_byte_of_latin_1(release: Release) -> None:
    plain, refused = release.read(), 0
    for path in release.files:
        content = path.read_bytes()
        path.write_bytes(content + b"\xe9")
        try:
            assert release.read() == plain  # a file of another split
        except UserError as error:
            assert path.name in str(error) and ("0xe9" in str(error) or path.suffix == ".xml"), error
            refused += 1
        path.write_bytes(content)
    assert refused or not release.files or release.name == "pair_instructions"


def slots(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Places of texts, the first of each list."""
    if isinstance(value, dict):
        for key in list(value)[:12]:
            yield from slots(value[key], (*place, key))
    elif isinstance(value, list) and value:
        yield from slots(value[0], (*place, 0))
    elif isinstance(value, str):
        yield place


def put(content: Any, place: tuple[Any, ...], value: Any) -> Any:
    if not place:
        return value
    content = copy.copy(content)
    content[place[0]] = put(content[place[0]], place[1:], value)
    return content


def test_every_release_with_values_that_are_no_text(release: Release) -> None:
    forms = set()
    for path in release.files:
        if path.suffix not in (".json", ".jsonl"):
            continue
        text = path.read_text(encoding="utf-8")
        lines = [json.loads(line) for line in text.splitlines()] if path.suffix == ".jsonl" else []
        content = lines or json.loads(text)
        places = tuple(slots(content))
        if places in forms:  # one of many files of one form
            continue
        forms.add(places)
        for i, place in enumerate(places):
            for name in list(VALUES)[i % 2 :: 2]:  # half of them at each place: a minute is too long
                changed = put(content, place, VALUES[name])
                path.write_text("\n".join(map(json.dumps, changed)) if lines else json.dumps(changed))
                try:
                    spoken = {text for sample in release.read() for text in sample}
                except UserError as error:
                    assert "\n" not in str(error), (path.name, place, name)
                else:
                    assert not WORDS & spoken, (path.name, place, name)
        path.write_text(text, encoding="utf-8")


# -- links --


def test_links_of_files_stay_in_the_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a table, of a release and of a folder: text and pictures; links of folders and of roots are people's own."""
    save_picture(tmp_path / "private/secret.png")
    row = json.dumps({"image": "a.png", "instruction": "What?", "answer": "sea", "task": "vqa"})
    (tmp_path / "private/secret.jsonl").write_text(row)
    root = tmp_path / "data"
    (root / "train").mkdir(parents=True)

    def read(kind: str = "own_jsonl", folder: Path = root) -> int:
        return len(instantiate(config(kind) | {"root": str(folder)}, split="train"))

    (root / "a.png").symlink_to(tmp_path / "private/secret.png")
    (root / "train.jsonl").write_text(row)
    with pytest.raises(UserError, match=r"a.png is a link to .*secret.png, which lies outside of .*RSMOE_LINKS=/"):
        read()
    monkeypatch.setenv("RSMOE_LINKS", str(tmp_path / "private"))
    assert read() == 1
    monkeypatch.delenv("RSMOE_LINKS")
    (root / "a.png").unlink()
    save_picture(root / "pictures/a.png")
    (root / "a.png").symlink_to("pictures/a.png")  # inside of the root
    assert read() == 1
    (root / "train.jsonl").unlink()
    (root / "train.jsonl").symlink_to("../private/secret.jsonl")
    with pytest.raises(UserError, match=r"train.jsonl is a link to"):
        read()
    (root / "train/a.png").symlink_to(tmp_path / "private/secret.png")
    (root / "train/a.txt").write_text("sea")
    with pytest.raises(UserError, match=r"train/a.png is a link to"):
        read("own_folder")
    (tmp_path / "linked").symlink_to(tmp_path / "private")  # a root that is a link
    (tmp_path / "private/train.jsonl").write_text(row.replace("a.png", "secret.png"))
    assert read(folder=tmp_path / "linked") == 1
    other = tmp_path / "other"
    other.mkdir()
    (other / "pictures").symlink_to(tmp_path / "private")  # a folder that is a link
    (other / "train.jsonl").write_text(row.replace("a.png", "pictures/secret.png"))
    assert read(folder=other) == 1


def test_the_cache_of_the_hub_is_links(tmp_path: Path) -> None:
    snapshot = tmp_path / "datasets--x/snapshots/0123"
    snapshot.mkdir(parents=True)
    save_picture(tmp_path / "datasets--x/blobs/77.png")
    (snapshot / "a.png").symlink_to("../../blobs/77.png")
    row = {"image": "a.png", "instruction": "What?", "answer": "sea", "task": "vqa"}
    (snapshot / "train.jsonl").write_text(json.dumps(row))
    assert len(OwnTable(root=str(snapshot), split="train")) == 1
