"""Scene classification: a folder of pictures for each class."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from rsmoe.checks.ranges import Fraction
from rsmoe.data.files.file_names import SUFFIXES, listed, stem
from rsmoe.data.readers.annotations import data_root, read_lines, require_split
from rsmoe.data.readers.reader import Reader
from rsmoe.data.readers.splits import held_out, require_fractions
from rsmoe.errors import UserError


class SceneFolder(Reader):
    """One question an image, "vqa" of the kind "scene"; the answer is the class of its folder, in words.

    Folders and classes are matched by their letters and digits alone: ``BaseballField``, ``baseball_field`` and
    ``baseballfield`` are the class "baseball field". ``Sample.meta`` has "scene_class" and "classes", all of them.

    Without ``lists``, each class is split by itself: ``test_fraction`` of its images, then ``val_fraction``, both
    rounded up, in the order of the SHA-256 of their names without the suffix, see `held_out`. With ``lists``, those of
    the field can be used: Neumann et al., arXiv:1911.06721, have them for EuroSAT, UC Merced and RESISC45.

    Args:
        split: "train", "val" or "test", or a key of ``lists``.
        images: the folder that holds the class folders, relative to ``root``.
        classes: the classes in words; every one needs its folder, and there may be no other. None takes the folders
            as they are, "BaseballField" as "baseball field".
        lists: split -> text file of one image a line, relative to ``root``; only the stem counts, so that a list of
            ``Forest_7.tif`` finds ``Forest_7.jpg``. What is on no list is left out.
        test_fraction: share of each class for "test".
        val_fraction: share of each class for "val".
        list_classes: whether the request names the classes.

    Attributes:
        unused: "on no list" -> images.
    """

    def __init__(
        self,
        *,
        root: str | None = None,
        split: str,
        name: str,
        images: str = ".",
        classes: Sequence[str] | None = None,
        lists: Mapping[str, str] | None = None,
        test_fraction: Fraction = 0.2,
        val_fraction: Fraction = 0.1,
        instruction: str = "What is the scene in this image?",
        list_classes: bool = False,
        official: Mapping[str, Mapping[str, int]] | None = None,
    ) -> None:
        require_fractions(name, test_fraction=test_fraction, val_fraction=val_fraction)
        root_folder = data_root(root, name)
        super().__init__(name=name, split=split, official=official)
        folders = _class_folders(root_folder / images, classes, name)
        pictures = _pictures(folders, name)
        if lists is None:
            parts = _by_hash(pictures, test_fraction, val_fraction)
        else:
            parts = _by_lists({part: root_folder / file for part, file in lists.items()}, set(pictures), name)
            self.unused["on no list"] = [stem for stem in pictures if stem not in parts]
        require_split(name, split, sorted(set(parts.values())))
        words = tuple(sorted(folders))
        request = f"{instruction} Answer with one of: {', '.join(words)}." if list_classes else instruction
        self._samples = [
            self._make(
                f"{path.parent.name}/{path.name}",
                (path,),
                request,
                (scene,),
                "vqa",
                kind="scene",
                meta={"scene_class": scene, "classes": words},
            )
            for stem, (scene, path) in pictures.items()
            if parts.get(stem) == split
        ]
        self.counts = {"images": len(self._samples), "classes": len(words)}


def class_words(folder: str) -> str:
    """ "BaseballField", "baseball_field" and "baseball-field" -> "baseball field"."""
    return " ".join(re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", re.sub(r"[_\-]+", " ", folder)).lower().split())


def _class_folders(parent: Path, classes: Sequence[str] | None, name: str) -> dict[str, Path]:
    """Class in words -> its folder."""
    if not parent.is_dir():
        raise UserError(f"{name}: the folder {parent} does not exist. Unpack the images there")
    found = {path.name: path for path in sorted(parent.iterdir()) if path.is_dir() and path.name[0] not in "._"}
    if not found:
        raise UserError(f"{name}: {parent} holds no class folders. Give the folder above them: data.images=...")
    if classes is None:
        classes = sorted({class_words(folder) for folder in found})
    letters = {re.sub(r"[\W_]", "", scene).lower(): scene for scene in classes}
    matched = {folder: letters.get(re.sub(r"[\W_]", "", folder).lower()) for folder in found}
    strange = [folder for folder, scene in matched.items() if scene is None]
    missing = sorted(set(classes) - set(matched.values()))
    if strange or missing or len(set(matched.values())) < len(found):
        raise UserError(
            f"{name}: the folders in {parent} are not its {len(classes)} classes, one each. Without a folder: "
            f"{', '.join(missing[:8]) or 'none'}; without a class: {', '.join(strange[:8]) or 'none'}. Give the folder "
            "of the classes (data.images=...) and move others away"
        )
    return {scene: found[folder] for folder, scene in matched.items() if scene is not None}


def _pictures(folders: Mapping[str, Path], name: str) -> dict[str, tuple[str, Path]]:
    """Stem -> (class, file), sorted; a stem has to be unique, for lists and hashes know images by it."""
    pictures: dict[str, tuple[str, Path]] = {}
    twice, empty = [], []
    for scene, folder in folders.items():
        files = listed(folder, *SUFFIXES)
        if not files:
            raise UserError(f"{name}: the class folder {folder} holds no picture ({', '.join(SUFFIXES)})")
        empty += [path.name for path in files if path.stat().st_size == 0]
        for path in files:
            key = stem(path.name)
            if key in pictures:
                twice.append(f"{key} ({pictures[key][1]} and {path})")
            pictures[key] = (scene, path)
    for fault, names in (("are there twice", twice), ("are empty files", empty)):
        if names:
            raise UserError(f"{name}: {len(names)} images {fault}: {', '.join(names[:5])}. Mend or remove them")
    return pictures


def _by_hash(pictures: Mapping[str, tuple[str, Path]], test: float, val: float) -> dict[str, str]:
    """Split of every stem, each class by itself."""
    members: dict[str, list[str]] = {}
    for key, (scene, _) in pictures.items():
        members.setdefault(scene, []).append(key)
    parts = dict.fromkeys(pictures, "train")
    for stems in members.values():
        parts |= dict.fromkeys(held_out(stems, test + val), "val")
        parts |= dict.fromkeys(held_out(stems, test), "test")
    return parts


def _by_lists(files: Mapping[str, Path], known: set[str], name: str) -> dict[str, str]:
    """Split of every stem that is on a list."""
    parts: dict[str, str] = {}
    twice: list[str] = []
    strange: list[str] = []
    for part, file in files.items():
        for line in read_lines(file):
            key = stem(line)
            if not key:
                continue
            if key in parts:
                twice.append(key)
            if key not in known:
                strange.append(key)
            parts[key] = part
    for fault, names in (("more than once", twice), ("without a file", strange)):
        if names:
            raise UserError(f"{name}: the lists name {len(names)} images {fault}: {', '.join(names[:5])}")
    return parts
