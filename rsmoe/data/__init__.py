"""Data contract: one `Sample` from every reader, one `rsmoe.data.batch.Batch` for the model.

A **dataset** is a map-style ``torch.utils.data.Dataset[Sample]`` in one file, with one yaml of the same stem in
``conf/data/``; `rsmoe.data.readers.reader.Reader` is what they share. It has

- ``name: str``        short name, becomes ``Sample.source``;
- ``split: str``       "train" | "val" | "test";
- ``protocol: str``    prefix of every number measured on it ("" for real data, "generated/" for generated scenes);
- ``__len__`` and ``__getitem__(i) -> Sample``: deterministic, cheap, no pixels decoded;
- a constructor ``(*, root: str | None, split: str, ...)`` that raises `rsmoe.errors.UserError` for a missing folder,
  json of another format (naming the key), images that are not there (counted, five named) or an empty split.

A fact that is marked "as we remember it", in a docstring or a yaml, was not checked against the release. Where a
layout is said to be that of a public loader, there was no release to check it against.

``Sample.images`` holds T paths (or arrays); `rsmoe.data.rasters.images` decodes them. Tasks are the yamls of
``conf/task``; the task label supervises the router during warm-up and is never an input of the model.
"""

from rsmoe.data.sample import Sample

__all__ = ["Sample"]
