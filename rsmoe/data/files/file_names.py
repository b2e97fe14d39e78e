"""From the names that annotations give to the files that lie below a folder: one rule for every reader.

A name is looked up exactly first. Where that file is not there, these are tried in turn, and the first that finds a
file decides:

1. the same stem with another suffix of `SUFFIXES`, or the suffix in other letters: "101.tif" finds ``101.JPG``. Of
   several the suffix as written goes first, then the earlier one in `SUFFIXES`;
2. the same in Unicode's composed form: what macOS unpacks has its accents as letters of their own;
3. the same after "%20" and its like are decoded and blanks at either end are cut off;
4. the same in small letters.

Two files that fit equally well are an error that names both. Separators are "/" or "\\". Hidden files (``._a.png``,
which macOS leaves behind) are found by their exact name alone. A stem ends at the last dot only if a suffix of pictures
follows it: that of "tile.1.2" is all of it.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from unicodedata import normalize
from urllib.parse import unquote

from rsmoe.data.files.links import require_inside
from rsmoe.errors import UserError

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".jfif", ".jpe", ".gif", ".jp2")
"""What counts as an image; of two files with one stem the earlier suffix wins, unless the exact name is there."""

_WRITTEN = {*SUFFIXES, ".img", ".ppm", ".pgm", ".npy", ".nitf", ".ecw"}
"""Suffixes that an annotated name may have, whatever the picture became since."""


_LEFT_BEHIND = {"__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information"}


def _composed(text: str) -> str:
    return normalize("NFC", text)


def _plain(text: str) -> str:
    return _composed(unquote(text)).strip()


def _small(text: str) -> str:
    return _composed(_plain(text).casefold())


_FORMS: tuple[Callable[[str], str], ...] = (str, _composed, _plain, _small)


def slashes(name: str) -> str:
    """The name with "/" between its parts."""
    return name.replace("\\", "/")


def is_picture(name: str) -> bool:
    """Whether a file is called like a picture, and is not hidden."""
    return _suffix(name) in SUFFIXES and not name.startswith(".")


def is_leftover(path: Path) -> bool:
    """Whether a path below a data folder is hidden, or lies in a hidden folder or one that systems leave behind:
    ``.ipynb_checkpoints``, ``__MACOSX``, ``@eaDir``. Jupyter puts copies of pictures and texts there."""
    return any(part.startswith(".") or part in _LEFT_BEHIND for part in path.parts)


def stem(name: str | Path) -> str:
    """The last part of a name without its suffix, if that is one of pictures: "x\\tile.1.TIF" -> "tile.1"."""
    last = slashes(str(name)).rpartition("/")[2]
    return last.rpartition(".")[0] if _suffix(last) in _WRITTEN else last


def listed(folder: Path, *suffixes: str) -> list[Path]:
    """The files in a folder with one of these suffixes in any case, by name; hidden ones and folders are left out."""
    with os.scandir(folder) as entries:
        found = [e.name for e in entries if not e.name.startswith(".") and _suffix(e.name) in suffixes and e.is_file()]
    return [require_inside(folder / name) for name in sorted(found)]


def globbed(folder: Path, pattern: str) -> list[Path]:
    """The pictures of a pattern below a folder, by name; a suffix in the pattern may be in any case."""
    suffix = _suffix(pattern)
    if suffix in SUFFIXES:
        pattern = pattern[: -len(suffix)] + ".*"
    found = [path for path in sorted(folder.glob(pattern)) if is_picture(path.name) and path.is_file()]
    found = [path for path in found if not is_leftover(path.relative_to(folder))]
    return [require_inside(path) for path in found if suffix not in SUFFIXES or _suffix(path.name) == suffix]


class FolderFiles:
    """What lies directly in one folder, listed once."""

    def __init__(self, folder: Path, *, source: str) -> None:
        self.folder, self._source = folder, source
        self._files: set[str] = set()
        self._folders: set[str] = set()
        with os.scandir(folder) as entries:
            for entry in entries:
                (self._files if entry.is_file() else self._folders).add(entry.name)
        self._tables: dict[tuple[bool, int], dict[str, list[str]]] = {}

    def find(self, name: str, *, any_suffix: bool = True) -> Path | None:
        """The file of a name without a path; None where there is none.

        Args:
            any_suffix: whether a picture may have become one of another suffix.

        Raises:
            UserError: two files fit equally well.
        """
        if name in self._files:
            return require_inside(self.folder / name)
        wanted, suffix = stem(name), _suffix(name)
        for number, form in enumerate(_FORMS):
            fits = self._table(True, number).get(form(wanted), [])
            fits = [file for file in fits if any_suffix or _suffix(file) == suffix]
            if not fits:
                continue
            if len({stem(file) for file in fits}) == 1:
                best = min(_rank(file, suffix) for file in fits)
                fits = [file for file in fits if _rank(file, suffix) == best]
            return require_inside(self.folder / self._only(fits, name))
        return None

    def find_folder(self, name: str) -> Path | None:
        """The folder of a name, likewise; names of folders have no suffix."""
        if name in self._folders:
            return self.folder / name
        for number, form in enumerate(_FORMS[1:], start=1):
            if fits := self._table(False, number).get(form(name), []):
                return self.folder / self._only(fits, name)
        return None

    def has(self, name: str) -> bool:
        """Whether a file has this very name."""
        return name in self._files

    def _only(self, fits: list[str], name: str) -> str:
        if len(fits) > 1:
            shown = " and ".join(sorted(fits)[:2])
            raise UserError(
                f"{self._source}: {name!r} is not in {self.folder}, where {shown} fit equally well. "
                "Call the one that is meant as the annotations do, or remove the other"
            )
        return fits[0]

    def _table(self, files: bool, number: int) -> dict[str, list[str]]:
        """Stems in one form -> files; made at the first name that is not there exactly."""
        if (files, number) not in self._tables:
            table: dict[str, list[str]] = defaultdict(list)
            for name in self._files if files else self._folders:
                if not name.startswith("."):
                    table[_FORMS[number](stem(name) if files and is_picture(name) else name)].append(name)
            self._tables[files, number] = dict(table)
        return self._tables[files, number]


class FileTree:
    """Finds the files of annotated names below a folder; each folder is listed once.

    Args:
        root: the folder that names are relative to; has to be there.
        flat: whether the path in a name means nothing where that folder is not there: "/author/x/a.png" is then
            looked for as ``root/a.png``. Otherwise it has to lie where the name says.
        any_suffix: whether a picture may have become one of another suffix; a mask beside its picture may not.
    """

    def __init__(self, root: Path, *, source: str, flat: bool = False, any_suffix: bool = True) -> None:
        self.root, self.source, self._flat, self._any_suffix = root, source, flat, any_suffix
        self._root = FolderFiles(root, source=source)
        self._folders: dict[str, FolderFiles | None] = {"": self._root}
        self._claims: dict[Path, tuple[str, str]] = {}

    def find(self, name: str) -> Path | None:
        """The file of a name, or None.

        Raises:
            UserError: two files fit equally well, two different names lead to one file, or the name leaves ``root``
                (not with ``flat``).
        """
        if "\\" in name and self._root.has(name):  # unpacked from a zip of Windows by a tool that kept its separators
            return self.root / name
        if not self._flat:
            below(self.root, name, source=self.source)
        parent, _, last = slashes(name).rpartition("/")
        if parent not in self._folders:
            self._folders[parent] = self._open(parent)
        files = self._folders[parent]
        path = None if files is None else files.find(last, any_suffix=self._any_suffix)
        if path is not None:
            lost = "/".join(part for part in parent.split("/") if part != ".") if files is self._root else ""
            claim = (f"{lost}/{_plain(stem(last))}", name)
            first, other = self._claims.setdefault(path, claim)
            if first != claim[0]:
                raise UserError(
                    f"{self.source}: {other!r} and {name!r} both lead to {path}. "
                    "Put each picture where its name says, or remove one of the two from the annotations"
                )
        return path

    def place(self, name: str) -> Path:
        """The folder that a name was looked for in, whether it is there or not."""
        parent = slashes(name).rpartition("/")[0]
        files = self._folders.get(parent)
        return self.root / parent if files is None else files.folder

    def _open(self, parent: str) -> FolderFiles | None:
        parts = [part for part in parent.split("/") if part not in ("", ".")]
        if is_absolute(parent) or ".." in parts:
            if self._flat:
                return self._root
            inside = os.path.relpath(os.path.join(_base(self.root), parent), _base(self.root))
            parts = [] if inside == "." else inside.split(os.sep)
        files: FolderFiles = self._root
        for part in parts:
            folder = files.find_folder(part)
            if folder is None:
                return self._root if self._flat else None
            files = FolderFiles(folder, source=self.source)
        return files


def is_absolute(name: str) -> bool:
    """Whether a name begins at the root of a disk, of this system or of Windows."""
    name = slashes(name)
    return name.startswith("/") or name[1:3] == ":/" or (len(name) == 2 and name[1] == ":")


def below(root: Path, name: str, *, source: str) -> Path:
    """``root / name``, which has to stay in ``root``: data from elsewhere must not reach other files.

    Args:
        root: the folder that may be read.
        name: a relative path, or an absolute one that lies in ``root``; links inside of it are followed.

    Raises:
        UserError: for a path that leaves ``root``, an empty one, or one that no file can have.
    """
    base, written = _base(root), slashes(name.strip())
    try:
        impossible = "\0" in written or any(len(os.fsencode(part)) > 255 for part in written.split("/"))
    except UnicodeEncodeError:
        impossible = True  # half a character, as json may escape it
    if impossible:
        raise UserError(f"{source}: {ascii(name)[:80]} is no name of a file. Name files by their path below {root}")
    path = os.path.normpath(os.path.join(base, written))
    if not written or not path.startswith(base.rstrip(os.sep) + os.sep) or (is_absolute(written) and written[0] != "/"):
        raise UserError(
            f"{source}: {name!r} does not lie in {root}. Name files by their path below that folder, "
            "or give a folder further up as the root"
        )
    return Path(path)


def _base(root: Path) -> str:
    return os.path.abspath(root)


def _suffix(name: str) -> str:
    """In small letters, with its dot; "" for a name that begins with its only dot."""
    root, dot, suffix = name.rpartition(".")
    return f".{suffix.strip().lower()}" if root and dot else ""


def _rank(file: str, suffix: str) -> tuple[bool, int]:
    own = _suffix(file)
    return own != suffix, SUFFIXES.index(own) if own in SUFFIXES else len(SUFFIXES)
