"""The server of ``python -m rsmoe.serve``: an API in OpenAI's form, GeoJSON of uploads, and one page.

A request passes `guard.Guard` (size, time, queue, key), becomes a `chat.ChatRequest`, an
`embeddings.EmbeddingRequest` or a form, its pictures are saved and checked by `uploads.Uploads`, and `batcher.Batcher`
answers it in one pass with those that came at the same time.
Whatever goes wrong for a client is a `problem.Problem`, which is sent in OpenAI's form of an error.
"""
