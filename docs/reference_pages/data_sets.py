"""Data sets: what the yamls in ``conf/data`` and the docstrings of their readers say."""

from __future__ import annotations

import ast
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from reference_pages.markdown import body_of, code, code_of_rst, comment_of, fenced, link_to, prose, table, text_of

HEAD = """# Data sets

`data=<name>` reads a release from `data.root=/path/to/it`, or from `$RSMOE_DATA/<name>`. A reader refuses a release
whose format differs from what it expects, and names the file and the key. `rsmoe inspect data=<name>` prints what was
read beside the counts that the release states. To train on your own images see
[Your own data](../how_to/own_data.md).

A fact marked "as we remember it" was not checked against the release.

"""
TASKS = {
    "Captions": {
        "caption": "ucm_captions sydney_captions rsicd rsitmd nwpu_captions rsicap gaia skyscript rs5m capera",
    },
    "Scene classes": {"vqa": "eurosat uc_merced aid resisc45"},
    "Questions": {
        "vqa": "rsvqa_lr rsvqa_hr rsvqa_website_lr rsivqa_ucm rsivqa_rsicd floodnet_vqa lhrs_bench",
        "caption, vqa": "rsieval rswk",
        "vqa, change_vqa": "geobench_vlm",
    },
    "Conversations": {
        "vqa, ground": "geochat_instruct",
        "caption, vqa, ground": "skyeye_968k",
        "vqa": "rs_gpt4v",
        "vqa, change_vqa, ground": "teochatlas",
    },
    "Boxes": {
        "caption, ground, vqa": "vrsbench_captions",
        "ground": "dior_rsvg rsvg dota",
        "ground, mask, vqa": "nwpu_vhr10",
    },
    "Masks": {
        "mask": "rrsis_d refsegrs geopix_instruct sky_sa loveda openearthmap potsdam vaihingen isaid uavid "
        "dubai_segmentation",
    },
    "Change": {
        "change_caption": "levir_cc dubai_cc",
        "change_caption, mask": "levir_mci second_cc",
        "change_caption, change_vqa": "changechat",
        "change_caption, change_vqa, mask": "pair_instructions",
        "mask": "levir_cd dsifn_cd s2looking",
    },
    "Generated": {
        "caption, vqa, change_caption, mask, retrieval": "scenes",
        "change_caption, change_vqa, mask": "scene_changes",
        "mask": "scene_masks",
        "ground, caption, vqa": "scene_regions",
    },
    "Your own": {
        "caption": "own_folder",
        "all": "own_jsonl own_csv",
        "all of one date, no masks": "own_webdataset",
        "all but mask, retrieval": "llava",
        "as written": "shards",
    },
}
"""Heading -> tasks -> data sets. What is missing here stands under the last heading, "More"."""


def pages(root: Path) -> dict[str, str | bytes]:
    """The page of all data sets."""
    paths = {path.stem: path for path in sorted((root / "conf/data").glob("*.yaml"))}
    groups = {kind: [(n, tasks) for tasks, names in of.items() for n in names.split()] for kind, of in TASKS.items()}
    listed = {name for rows in groups.values() for name, _ in rows}
    groups["More"] = [(name, "") for name in paths if name not in listed]
    lines = [HEAD]
    for kind, rows in groups.items():
        cells = [
            [f"[`{name}`](#{_anchor(name)})", prose(_first_sentence(comment_of(paths[name]))), tasks]
            for name, tasks in rows
            if name in paths
        ]
        if cells:
            lines += [f"## {kind}\n", table(["`data=`", "what it holds", "tasks"], cells)]
    return {"data_sets.md": "\n".join([*lines, "## Each data set\n", *map(_section, paths.values())])}


def _section(path: Path) -> str:
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    target = config["_target_"]
    lines = [f"({_anchor(path.stem)})=", f"### {path.stem}\n", prose(text_of(comment_of(path))) + "\n"]
    lines.append(f"Reader: {link_to(target)}. {_sentence(target)}\n")
    rows = [
        [code(split), ", ".join(f"{count:,} {prose(name)}" for name, count in counts.items())]
        for split, counts in (config.get("official") or {}).items()
    ]
    if rows:
        lines.append(table(["split", "counts that the release states"], rows))
    return "\n".join([*lines, fenced(body_of(path, leave_out=["_target_", "official", "classes"]))])


def _anchor(name: str) -> str:
    return f"data-{name.replace('_', '-')}"


def _first_sentence(comment: list[str]) -> str:
    text = text_of(comment)
    depth = 0
    for i, char in enumerate(text):
        depth += (char in "([{") - (char in ")]}")
        if char in ".;" and not depth and text[i + 1 : i + 2] in ("", " ") and not re.search(r"\bal$", text[:i]):
            return text[:i]
    return text


def _sentence(target: str) -> str:
    """First sentence of a docstring as markdown, without importing its module."""
    spec: Any = find_spec(target.rpartition(".")[0])
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == target.rpartition(".")[2]:
            return code_of_rst((ast.get_docstring(node) or "").split("\n\n")[0].rstrip(": "))
    return ""
