"""Predictions as lines of json and back, arrays included: masks run-length coded, embeddings as base64 of float32,
maps of changes as base64 of zipped bytes."""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np

from rsmoe.data.rasters.rle import decode_rle, encode_rle
from rsmoe.data.sample import Sample
from rsmoe.metrics.prediction import Prediction


def asked(sample: Sample) -> str:
    """16 hex digits that change with the id, the request, its history or the references of a sample."""
    said = [sample.id, sample.task, sample.kind, sample.instruction, sample.history, sample.responses]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:16]


def to_line(prediction: Prediction, sample: Sample) -> bytes:
    """One line, newline included; `from_row` of its json gives the same prediction, bit for bit."""
    row = {f.name: _plain(getattr(prediction, f.name)) for f in fields(prediction)}
    request = {"instruction": sample.instruction, "references": list(sample.responses)}
    return json.dumps({"asked": asked(sample), **row, **request}, ensure_ascii=False).encode() + b"\n"


def from_row(row: dict[str, Any]) -> Prediction:
    """The prediction of a line; keys that a `Prediction` does not have are passed over."""
    known = {f.name for f in fields(Prediction)}
    return Prediction(**{k: _value(v) for k, v in row.items() if k in known})


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(v) for v in value]
    if isinstance(value, Mapping):
        return {"outputs": {name: _plain(v) for name, v in value.items()}}
    if not isinstance(value, np.ndarray):
        return value
    if value.dtype == bool and value.ndim == 2:
        return {"size": list(value.shape), "counts": encode_rle(value)}
    if value.dtype == np.uint8:
        packed = zlib.compress(np.ascontiguousarray(value).tobytes())
        return {"shape": list(value.shape), "uint8": base64.b64encode(packed).decode()}
    data = np.ascontiguousarray(value, dtype="<f4")
    return {"shape": list(data.shape), "float32": base64.b64encode(data.tobytes()).decode()}


def _value(value: Any) -> Any:
    if isinstance(value, dict) and set(value) == {"size", "counts"}:
        return decode_rle(value["counts"], tuple(value["size"]))
    if isinstance(value, dict) and set(value) == {"shape", "float32"}:
        return np.frombuffer(base64.b64decode(value["float32"]), dtype="<f4").reshape(value["shape"]).copy()
    if isinstance(value, dict) and set(value) == {"shape", "uint8"}:
        raw = zlib.decompress(base64.b64decode(value["uint8"]))
        return np.frombuffer(raw, dtype=np.uint8).reshape(value["shape"]).copy()
    if isinstance(value, dict) and set(value) == {"outputs"}:
        return {name: _value(v) for name, v in value["outputs"].items()}
    return tuple(_value(v) for v in value) if isinstance(value, list) else value
