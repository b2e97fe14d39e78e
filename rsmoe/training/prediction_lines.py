"""Predictions as lines of json and back, arrays included: masks run-length coded, embeddings as base64 of float32."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import fields
from typing import Any

import numpy as np

from rsmoe.data.rle import decode_rle, encode_rle
from rsmoe.data.sample import Sample
from rsmoe.metrics.prediction import Prediction


def asked(sample: Sample) -> str:
    """16 hex digits that change with the id, the request, its history or the references of a sample."""
    said = [sample.id, sample.task, sample.kind, sample.instruction, sample.history, sample.responses]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:16]


def to_line(prediction: Prediction, sample: Sample) -> bytes:
    """One line, newline included; `from_row` of its json gives the same prediction, bit for bit."""
    row = {f.name: _plain(getattr(prediction, f.name)) for f in fields(prediction)}
    return json.dumps({"asked": asked(sample), **row}, ensure_ascii=False).encode() + b"\n"


def from_row(row: dict[str, Any]) -> Prediction:
    """The prediction of a line; keys that a `Prediction` does not have are passed over."""
    known = {f.name for f in fields(Prediction)}
    return Prediction(**{k: _value(v) for k, v in row.items() if k in known})


def mask_as_rle(mask: np.ndarray) -> dict[str, Any]:
    """(H, W) bool -> ``{"size": [H, W], "counts": ...}``, as COCO writes masks."""
    return {"size": list(mask.shape), "counts": encode_rle(mask)}


def _plain(value: Any) -> Any:
    if not isinstance(value, np.ndarray):
        return value
    if value.dtype == bool and value.ndim == 2:
        return mask_as_rle(value)
    data = np.ascontiguousarray(value, dtype="<f4")
    return {"shape": list(data.shape), "float32": base64.b64encode(data.tobytes()).decode()}


def _value(value: Any) -> Any:
    if isinstance(value, dict) and set(value) == {"size", "counts"}:
        return decode_rle(value["counts"], tuple(value["size"]))
    if isinstance(value, dict) and set(value) == {"shape", "float32"}:
        return np.frombuffer(base64.b64decode(value["float32"]), dtype="<f4").reshape(value["shape"]).copy()
    return tuple(value) if isinstance(value, list) else value
