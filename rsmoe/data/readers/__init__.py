"""Readers: one file per release, one yaml of the same name in ``conf/data/``.

A reader is a ``torch.utils.data.Dataset[Sample]``; its contract is in `rsmoe.data`. What readers share:

- `reader.Reader`: the base class, with the arguments that all have;
- `annotations`: where a release is, and what its files must hold;
- `conversations`, `choices`, `karpathy`, `coco_instances`: formats that several releases use;
- `splits`: those that a release does not state;
- `own_jsonl` and its kin (`own_table`, `own_folder`, `own_webdataset`): data of your own.
"""
