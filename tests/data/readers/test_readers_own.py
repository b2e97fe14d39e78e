"""One's own data, as tables and folders: the examples of the docstrings, and every kind of broken row."""

from __future__ import annotations

import csv
import inspect
import json
import tarfile
import textwrap
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from omegaconf import OmegaConf
from rich.console import Console
from support.readers import lines, reader, same, write
from support.readers import save as picture

from rsmoe.config import compose
from rsmoe.data.corpus import build_corpus
from rsmoe.data.rasters.images import read_array
from rsmoe.data.readers.own import own_data
from rsmoe.data.readers.own_table import OwnTable
from rsmoe.data.sample import Sample
from rsmoe.data.shards.writer import write_shards
from rsmoe.errors import UserError
from rsmoe.parts import check_parts
from rsmoe.world import is_generated

SIZE = (40, 20)
save = partial(picture, size=SIZE)


def example(suffix: str) -> str:
    """The table that the docstring of `OwnTable` shows."""
    blocks = [b for b in inspect.getdoc(OwnTable).split("::\n\n")[1:]]  # type: ignore[union-attr]
    block = blocks[0 if suffix == "jsonl" else 1]
    kept = [line for line in block.split("\n\n")[0].splitlines() if line.startswith("    ")]
    return textwrap.dedent("\n".join(kept)) + "\n"


def own(root: Path, suffix: str = "jsonl", content: Any = None, **options: Any) -> OwnTable:
    for name in ("a", "b"):
        save(root / f"{name}.png")
    save(root / "water.png", 255, "L")
    if isinstance(content, list):
        content = "".join(json.dumps(row) + "\n" for row in content)
    write(root / f"train.{suffix}", example(suffix) if content is None else content)
    return reader("own_jsonl" if suffix == "jsonl" else "own_csv", root, "train", **options)


def test_the_jsonl_of_the_docstring_is_read(tmp_path: Path) -> None:
    data = own(tmp_path)
    same(data)
    assert [(s.task, s.responses) for s in data] == [
        ("vqa", ("two",)),
        ("caption", ("Two ships.", "A port.")),
        ("change_caption", ("A pier.",)),
        ("mask", ("[SEG]",)),
        ("ground", ("[2, 1, 9, 6]",)),
    ]
    assert [path.name for path in data[2].images] == ["a.png", "b.png"] and data[2].kind == "changed"
    mask = data[3].mask
    assert mask is not None and read_array(mask).shape == (20, 40) and read_array(mask).all()
    assert data[4].boxes_px is not None and data[4].boxes_px.tolist() == [[2, 1, 9, 6]] and data[4].obb_px is None
    assert data.counts == {"images": 2, "samples": 5, **dict.fromkeys([s.task for s in data], 1)}
    assert data[0].id == "train.jsonl, line 1"


def test_the_csv_of_the_docstring_is_read(tmp_path: Path) -> None:
    data = own(tmp_path, "csv")
    same(data)
    assert [(s.task, s.responses) for s in data] == [
        ("caption", ("Two ships.", "A port.")),
        ("ground", ("[2, 1, 9, 6]",)),
    ]
    assert all(s.meta == {"place": "Genoa"} for s in data)
    assert data[1].boxes_px is not None and data[1].boxes_px.tolist() == [[2, 1, 9, 6]] and data[0].boxes_px is None


def test_a_csv_as_spreadsheets_write_it(tmp_path: Path) -> None:
    """A byte order mark, Windows line ends, quotes, a line break in a cell."""
    rows = [
        ["images", "instruction", "answer", "task", "gsd_m"],
        ["a.png|b.png", 'What "changed"?', "A\nroad", "change_vqa", "0.5"],
    ]
    for name in ("a", "b"):
        save(tmp_path / f"{name}.png")
    with (tmp_path / "train.csv").open("w", newline="", encoding="utf-8-sig") as file:
        csv.writer(file, dialect="excel").writerows(rows)
    sample = reader("own_csv", tmp_path, "train")[0]
    assert sample.instruction == 'What "changed"?' and sample.responses == ("A\nroad",) and len(sample.images) == 2
    assert sample.meta == {"gsd_m": "0.5"}


def test_own_columns(tmp_path: Path) -> None:
    base = {"image": "a.png", "instruction": "Find.", "answer": "here", "task": "ground"}
    write(tmp_path / "boxes/a.json", [[1, 2, 3, 4], [2, 2, 9, 9]])
    data = own(
        tmp_path,
        content=[
            base | {"boxes": [[20, 10, 8, 4, 30]], "labels": ["ship"], "kind": "small", "id": "one", "gsd_m": 0.3},
            base | {"boxes": "boxes/a.json", "labels": ["ship", "quay"]},
            base | {"answer": 7, "task": None},
            {"image": "b.png", "responses": ["A field north of a road."], "task": "caption"},
        ],
        task="vqa",
        instruction="Describe it.",
    )
    assert (
        data[0].id == "one"
        and data[0].labels == ("ship",)
        and data[0].kind == "small"
        and data[0].meta == {"gsd_m": 0.3}
    )
    assert data[0].obb_px is not None and data[0].obb_px.tolist() == [[20, 10, 8, 4, 30]] and data[0].boxes_px is None
    assert data[1].boxes_px is not None and data[1].boxes_px.shape == (2, 4) and data[1].boxes_px.dtype == np.float32
    assert data[2].task == "vqa" and data[2].responses == ("7",)
    assert data[3].instruction == "Describe it." and data[3].directional


def test_answers_of_boxes_are_written_under_a_declared_convention(tmp_path: Path) -> None:
    rows = [
        {"image": "a.png", "instruction": "Find.", "task": "ground", "boxes": [[20, 10, 30, 15], [0, 0, 4, 2]]},
        {"image": "a.png", "instruction": "Find.", "task": "ground", "boxes": [[20, 10, 8, 4, 90]]},
        {"image": "a.png", "instruction": "Find.", "task": "ground", "answer": "none"},
    ]
    data = own(tmp_path, content=rows, box_convention="minigpt")
    assert data[0].responses == ("{<50><50><75><75>}<delim>{<0><0><10><10>}",)
    assert data[1].responses == ("{<45><30><55><70>}",) and data[1].obb_px is not None  # 18..22 x 6..14 px
    assert data[2].responses == ("none",) and data[2].boxes_px is None
    assert all(s.directional and s.meta == {"box_convention": "minigpt", "size_px": SIZE} for s in data)
    with pytest.raises(UserError, match="expected 'answer' or 'responses'"):
        own(tmp_path, content=rows)
    with pytest.raises(UserError, match="expected 'answer' or 'responses'"):
        own(tmp_path, content=[{"image": "a.png", "instruction": "Find.", "task": "ground"}], box_convention="minigpt")
    with pytest.raises(UserError, match="unknown box convention 'minigtp'. Did you mean 'minigpt'"):
        own(tmp_path, content=rows, box_convention="minigtp")


def test_own_table_with_a_split_column(tmp_path: Path) -> None:
    row = {"image": "a.png", "instruction": "What?", "answer": "x", "task": "vqa"}
    save(tmp_path / "a.png")
    lines(tmp_path / "all.jsonl", [row | {"split": split} for split in ("train", "train", "val")])
    assert len(reader("own_jsonl", tmp_path, "train", table="all.jsonl")) == 2
    assert reader("own_jsonl", tmp_path, "val", table="all.jsonl")[0].meta == {}
    with pytest.raises(UserError, match="unknown split of own_jsonl 'test'.*Known: train, val"):
        reader("own_jsonl", tmp_path, "test", table="all.jsonl")
    lines(tmp_path / "all.jsonl", [row | {"split": "train"}, row])
    with pytest.raises(UserError, match="all.jsonl, line 2: no 'split'"):
        reader("own_jsonl", tmp_path, "train", table="all.jsonl")


def test_a_table_without_splits_is_split_by_its_pictures(tmp_path: Path) -> None:
    """The same for every row about a picture, whatever else is in the table."""
    rows = [GOOD | {"image": f"{i // 2}.png", "answer": str(i)} for i in range(200)]
    for i in range(100):
        save(tmp_path / f"{i}.png")
    lines(tmp_path / "all.jsonl", rows)
    parts = {s: reader("own_jsonl", tmp_path, s, table="all.jsonl") for s in ("train", "val", "test")}
    assert sum(len(part) for part in parts.values()) == 200 and len(parts["train"]) > 130
    seen = {s: {part[i].images[0] for i in range(len(part))} for s, part in parts.items()}
    assert not seen["train"] & seen["val"] and not seen["train"] & seen["test"] and not seen["val"] & seen["test"]
    lines(tmp_path / "fewer.jsonl", rows[:100])
    fewer = reader("own_jsonl", tmp_path, "test", table="fewer.jsonl")
    assert {fewer[i].images[0] for i in range(len(fewer))} == {p for p in seen["test"] if int(p.stem) < 50}


@pytest.mark.parametrize("kind", ["file", "files", "csv", "folder", "pictures", "shards", "webdataset"])
def test_own_data_is_read_by_its_place(kind: str, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    for split in ("train", "test"):
        for name in ("a", "b"):
            save(folder / split / f"{name}.png")
            (folder / split / f"{name}.txt").write_text("a port")
    rows = [GOOD | {"image": f"{s}/a.png", "split": s} for s in ("train", "test")]
    where, expected = folder, "caption"
    if kind == "file":
        lines(folder / "all.jsonl", rows)
        where, expected = folder / "all.jsonl", "vqa"
    elif kind == "files":
        for row in rows:
            lines(folder / f"{row['split']}.jsonl", [row])
        expected = "vqa"
    elif kind == "csv":
        for row in rows:
            (folder / f"{row['split']}.csv").write_text(f"image,instruction,answer,task\n{row['image']},What?,x,vqa\n")
        expected = "vqa"
    elif kind == "pictures":
        where = folder / "train"
    elif kind == "shards":
        where = tmp_path / "shards"
        for split in ("train", "test"):
            write_shards(dataset=own_data(path=str(folder), split=split), out=where, source={"of": "own"})
    elif kind == "webdataset":
        for split in ("train", "test"):
            with tarfile.open(folder / split / "0.tar", "w") as tar:
                tar.add(folder / split / "a.png", "a.jpg")
                tar.add(folder / split / "a.txt", "a.txt")
    data = {split: own_data(path=str(where), split=split) for split in ("train", "val", "test")}
    assert data["train"][0].task == expected and len(data["val"]) == 0
    assert len(data["test"]) == {"pictures": 0, "folder": 2, "shards": 2}.get(kind, 1)


def test_own_data_that_is_not_there() -> None:
    with pytest.raises(UserError, match=r"give corpus.own.data=<a .jsonl"):
        own_data(path=None, split="train")
    with pytest.raises(UserError, match="corpus.own.data=/nowhere: no such file or folder; expected a .jsonl"):
        own_data(path="/nowhere", split="train")


def test_a_corpus_of_own_data_needs_no_yaml(tmp_path: Path) -> None:
    from rich.console import Console

    save(tmp_path / "a,b.png")
    lines(tmp_path / "train.jsonl", [{"image": "a,b.png", "answer": "a port"}])
    words = [f"corpus.own.data={tmp_path}", "corpus.own.task=caption", "corpus.own.instruction='Describe it, please.'"]
    config = OmegaConf.to_container(compose(["corpus=own", *words]), resolve=True)
    assert isinstance(config, dict)
    check_parts(config)
    corpus = build_corpus(config["corpus"], root=None, generated=False, console=Console(quiet=True))
    assert list(corpus.train) == ["own"] and not corpus.val and not corpus.test
    assert corpus.train["own"][0].instruction == "Describe it, please."


def test_a_corpus_asks_the_same_pictures_something_else(tmp_path: Path) -> None:
    from rich.console import Console

    save(tmp_path / "a.png")
    lines(tmp_path / "train.jsonl", [{"image": "a.png", "instruction": "Describe.", "answer": "x", "task": "caption"}])
    words = [f"corpus.own.data={tmp_path}", "+corpus.own.as=retrieval", "+corpus.own.prompt='Embed: {instruction}'"]
    config = OmegaConf.to_container(compose(["corpus=own", *words]), resolve=True)
    assert isinstance(config, dict)
    [sample] = build_corpus(config["corpus"], root=None, generated=False, console=Console(quiet=True)).train["own"]
    assert (sample.task, sample.instruction, sample.responses) == ("retrieval", "Embed: Describe.", ("x",))
    lines(tmp_path / "test.jsonl", [{"image": "a.png", "instruction": "?", "answer": "x", "task": "vqa"}] * 2)
    several = ["+corpus.own.prompt=[Describe it., What is there?]", "corpus.own.splits={train:test,test:test}"]
    config = OmegaConf.to_container(compose(["corpus=own", words[0], *several]), resolve=True)
    assert isinstance(config, dict)
    both = build_corpus(config["corpus"], root=None, generated=False, console=Console(quiet=True))
    assert [s.instruction for s in both.train["own"]] == ["Describe it.", "What is there?"]
    assert [s.instruction for s in both.test["own"]] == ["Describe it."] * 2, "a benchmark asks in one way"


GOOD = {"image": "a.png", "instruction": "What?", "answer": "x", "task": "vqa"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"task": "vqaa"}, "line 1: unknown task 'vqaa'. Did you mean 'vqa'"),
        ({"task": None}, "line 1: no 'task'; found 'image'"),
        ({"instruction": " "}, "line 1: no 'instruction'"),
        ({"answer": None}, "expected 'answer' or 'responses', one of them"),
        ({"responses": ["y"]}, "expected 'answer' or 'responses', one of them"),
        ({"answer": ""}, "'answer' should hold texts"),
        ({"answer": True}, "'answer' should hold texts, found 'True'"),
        ({"answer": None, "responses": []}, "'responses' should hold texts"),
        ({"image": None}, "expected 'image' or 'images'"),
        ({"image": "none.png"}, "1 of 1 annotated names have no image"),
        ({"image": "../a.png"}, "does not lie in"),
        ({"task": "change_caption"}, "'change_caption' needs two or more images"),
        (
            {"task": "change_caption", "image": None, "images": ["a.png", "b.png"], "kind": "same"},
            "unknown kind of a change caption 'same'",
        ),
        ({"image": None, "images": ["a.png", "b.png"]}, "2 images; call the task 'change_vqa'"),
        ({"task": "mask"}, "line 1: no 'mask'"),
        ({"task": "mask", "mask": "water.png"}, r"has to hold \[SEG\]"),
        ({"mask": "../water.png"}, "does not lie in"),
        ({"mask": "none.png"}, "none.png does not exist"),
        ({"boxes": [[1, 2, 3]]}, r"expected boxes as \[\[x1, y1"),
        ({"boxes": [[1, 2, 3, "4"]]}, "expected boxes as"),
        ({"boxes": [[1, 2, 3, 4], [1, 2, 3, 4, 5]]}, "expected boxes as"),
        ({"boxes": [1, 2, 3, 4]}, "expected boxes as"),
        ({"boxes": []}, "expected boxes as"),
        ({"boxes": [[9, 9, 4, 4]]}, r"\[9.0, 9.0, 4.0, 4.0\] is no box on .*is it x y width height"),
        ({"boxes": "[[1, 2"}, "is not json"),
        ({"boxes": "none.json"}, "none.json does not exist"),
        ({"labels": ["ship"]}, "1 labels for 0 boxes"),
    ],
)
def test_own_table_refuses(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        own(tmp_path, content=[GOOD | change])


def test_own_tables_that_are_none(tmp_path: Path) -> None:
    for content, fault in (
        ("", "holds no row"),
        ("[1, 2]\n", "line 1: expected an object, found list"),
        (json.dumps(GOOD) + "\n{'image': 1}\n", "line 2, is not json"),
        (json.dumps(GOOD | {"id": "x"}) + "\n" + json.dumps(GOOD | {"id": "x"}), "1 ids occur more than once: x"),
    ):
        with pytest.raises(UserError, match=fault):
            own(tmp_path, content=content)
    for content, fault in (
        ("image,instruction,answer,task\na.png,What, is it?,x,vqa\n", "line 2: expected 4 cells: quote texts"),
        ("image,instruction,answer,task\na.png,What?\n", "line 2: expected 4 cells"),
        ('image,instruction\n"a.png,What', "is not a CSV"),
    ):
        with pytest.raises(UserError, match=fault):
            own(tmp_path, "csv", content)
    (tmp_path / "train.csv").write_bytes(b"image,instruction\n\xff\xfe,x\n")
    with pytest.raises(UserError, match=r"train.csv is not UTF-8 text .* at byte 18, line 2.*iconv"):
        reader("own_csv", tmp_path, "train")
    write(tmp_path / "train.tsv", "x")
    with pytest.raises(UserError, match="should end in .jsonl or .csv"):
        reader("own_csv", tmp_path, "train", table="{split}.tsv")
    with pytest.raises(UserError, match="val.jsonl does not exist"):
        reader("own_jsonl", tmp_path, "val")


def test_own_folder_pairs_pictures_and_texts(tmp_path: Path) -> None:
    folder = tmp_path / "train"
    for name in ("port.png", "ice/a1.jpg", "ice/a.2.tif", "alone.png", "void.png", "port.jpg", ".hidden.png"):
        save(folder / name)
    write(folder / "port.txt", "A port .\n\nShips on the left .\n")
    write(folder / "ice/a1.txt", "\ufeffIce .")
    write(folder / "ice/a.2.txt", "Älterer Schnee .")
    write(folder / "void.txt", " \n")
    write(folder / "readme.txt", "About.")
    data = reader("own_folder", tmp_path, "train")
    same(data)
    assert [(s.id, s.responses, s.meta) for s in data] == [
        ("ice/a.2.tif", ("Älterer Schnee .",), {"folder": "ice"}),
        ("ice/a1.jpg", ("Ice .",), {"folder": "ice"}),
        ("port.png", ("A port .", "Ships on the left ."), {}),
    ]
    assert [s.directional for s in data] == [False, False, True]
    assert data.counts == {"images": 3, "captions": 4}
    assert data.unused == {
        "pictures whose stem another one has": ["port.jpg"],
        "pictures without a text": ["alone.png"],
        "texts without a caption": ["void.png"],
        "texts without a picture": ["readme.txt"],
    }
    assert len(reader("own_folder", folder, "val", images=".", holds="val")) == 3


def test_own_folder_refuses(tmp_path: Path) -> None:
    save(tmp_path / "train/a.png")
    with pytest.raises(UserError, match="holds 1 pictures and 0 texts, and no picture with a caption"):
        reader("own_folder", tmp_path, "train")
    with pytest.raises(UserError, match="unknown split of own_folder 'test'.*Known: train"):
        reader("own_folder", tmp_path, "test")
    (tmp_path / "train/a.txt").write_bytes(b"caf\xe9")
    with pytest.raises(UserError, match=r"a.txt is not UTF-8"):
        reader("own_folder", tmp_path, "train")
    write(tmp_path / "train/a.txt", "A port.")
    (tmp_path / "train/a.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"a.png is empty"):
        reader("own_folder", tmp_path, "train")
    with pytest.raises(UserError, match="own_folder is empty: its annotations name no image"):
        reader("own_folder", (tmp_path / "train"), "train")


class Nameless(list[Sample]):
    """A reader of somebody's own by the contract of `rsmoe.data`: its constructor takes root and split alone."""

    protocol = ""

    def __init__(self, *, root: str | None, split: str) -> None:
        image = np.zeros((8, 8, 3), np.uint8)
        super().__init__(
            [Sample(id=str(root), images=(image,), instruction="?", responses=("a",), task="vqa", source="")]
        )


def test_a_reader_whose_yaml_has_no_name_takes_the_root_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = {"_target_": f"{Nameless.__module__}.Nameless", "root": None}
    config = {"own": {"splits": {"train": "train"}, "reader": reader}}
    monkeypatch.setenv("RSMOE_TRUST", Nameless.__module__)
    built = build_corpus(config, root=str(tmp_path), generated=False, console=Console(quiet=True))
    assert built.train["own"][0].id == str(tmp_path)
    monkeypatch.setenv("RSMOE_DATA", str(tmp_path))
    both = {"own": {"reader": reader, "generated": {}}}
    assert is_generated({"corpus": both, "data": {"root": None}, "world": "auto"})


def test_a_broken_line_of_ones_own_is_not_to_be_downloaded(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text('{"image": "a.png"')
    with pytest.raises(UserError, match="line 1, is not json .*Correct the line, or copy the file again"):
        OwnTable(root=str(tmp_path), split="train", name="own", table="{split}.jsonl")
