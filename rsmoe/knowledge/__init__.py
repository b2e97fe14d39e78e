"""Knowledge contract: what a user knows of places, found by the picture that is asked about, before the question.

- `read_notes.read_notes`: tables, markdown and RSWK's records as `PlaceNote`s;
- `knowledge_store.KnowledgeStore`: notes in one folder, with vectors of their pictures and texts in the space of an
  `rsmoe.archive.Embedder`;
- `knowledge.Knowledge`: an opened store, an `rsmoe.evaluation.known.Knowledge`: it finds the notes on a picture by
  place and by look, never by a copy of the picture itself, and orders them by the question.
"""
