"""Commands beside the four entry points: ``python -m rsmoe.commands.<name>`` or ``rsmoe <name>``.

Look at data: `inspect`, `overlap`, `shard`. Look at runs: `compare`, `experts`, `stress`,
`swap`. Beside classical methods: `change_detection`. Models for other programs: `export`. Dual encoders: `contrast`,
and `convert_clip` of other people's. Search an archive, `index` and `search`, or a picture, `localise`; name the
classes of its pixels, `segment`. Answers with knowledge: `knowledge`. Each has one yaml of the same name at the top of
``conf/``, takes Hydra overrides, and leaves the work to the packages that it imports.
"""
