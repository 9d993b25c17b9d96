"""The digits artefact on disk: its layout, its manifest, and a reader that refuses anything incomplete or changed.

manifest.json     counts, the model's name, version and accuracy, versions, a sha256 for each file and one over all
model.joblib      the fitted scikit-learn pipeline, for whoever wants to look into the model
weights.npz       the same model as four float32 matrices, which is what the model server computes with
pixels.npy        (entities, 64) float32 of 0 to 16, row = entity id
labels.npy        (entities,) int64 of 0 to 9, row = entity id
entities.jsonl    {"entity_id", "label"} one a line, in the order of ids
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.shared.artefact import combined_hash, sha256_of
from app.shared.features import FEATURES, Matrix

SCHEMA = "digits/v1"
MODEL_NAME = "digits"
MODEL_VERSION = "digits-mlp-v1"
CLASSES = 10
MANIFEST = "manifest.json"
MODEL = "model.joblib"
WEIGHTS = "weights.npz"
PIXELS = "pixels.npy"
LABELS = "labels.npy"
ENTITIES = "entities.jsonl"
FILES = (MODEL, WEIGHTS, PIXELS, LABELS, ENTITIES)
_FIELDS = {"model_name": str, "model_version": str, "entities": int, "accuracy": float}


class DigitsError(Exception):
    """The artefact cannot be used; the message says which file, why, and how to make it anew."""


@dataclass(frozen=True, slots=True)
class Digits:
    """An artefact whose manifest was checked. Open it with `Digits.open`."""

    path: Path
    manifest: dict[str, Any]

    @classmethod
    def open(cls, path: Path) -> Digits:
        """Read the manifest and compare the hash of every file. Raises DigitsError."""
        remedy = f"build it with: python -m model_server.build_model {path}"
        try:
            manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise DigitsError(f"digits-missing: no {MANIFEST} in {path}; {remedy}") from None
        except ValueError as error:
            raise DigitsError(f"digits-damaged: {path / MANIFEST} is not JSON ({error}); {remedy}") from None
        if not isinstance(manifest, dict) or manifest.get("schema") != SCHEMA:
            raise DigitsError(f"digits-outdated: {path / MANIFEST} does not say schema {SCHEMA!r}; {remedy}")
        recorded = manifest.get("files", {})
        for name in FILES:
            try:
                found = sha256_of(path / name)
            except FileNotFoundError:
                raise DigitsError(f"digits-damaged: {path / name} is missing; {remedy}") from None
            if recorded.get(name) != found:
                raise DigitsError(
                    f"digits-damaged: {path / name} is not the file that was built "
                    f"(sha256 {found[:12]}, expected {str(recorded.get(name))[:12]}); {remedy}"
                )
        if manifest.get("sha256") != combined_hash(recorded):
            raise DigitsError(f"digits-damaged: {path / MANIFEST} disagrees with itself about its hash; {remedy}")
        for field, kind in _FIELDS.items():
            if not isinstance(value := manifest.get(field), kind):
                raise DigitsError(f"digits-damaged: {path / MANIFEST} says {field} {value!r}; {remedy}")
        return cls(path=path, manifest=manifest)

    @property
    def size(self) -> int:
        """How many entities there are; their ids are 0 to size - 1."""
        return int(self.manifest["entities"])

    @property
    def model_name(self) -> str:
        """What the model is asked for by."""
        return str(self.manifest["model_name"])

    @property
    def model_version(self) -> str:
        """Which model of that name it is."""
        return str(self.manifest["model_version"])

    @property
    def accuracy(self) -> float:
        """The share of entities that the model labels rightly, none of which it was trained on."""
        return float(self.manifest["accuracy"])

    def pixels(self) -> Matrix:
        """(entities, 64) float32 of 0 to 16, memory-mapped, row = entity id. Raises DigitsError."""
        pixels: Matrix = self._load(PIXELS, np.dtype(np.float32), (self.size, FEATURES["pixels"]))
        return pixels

    def labels(self) -> NDArray[np.int64]:
        """(entities,) int64 of 0 to 9, memory-mapped, row = entity id. Raises DigitsError."""
        labels: NDArray[np.int64] = self._load(LABELS, np.dtype(np.int64), (self.size,))
        return labels

    def _load(self, name: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
        array: NDArray[Any] = np.load(self.path / name, mmap_mode="r")
        if array.dtype != dtype or array.shape != shape:
            raise DigitsError(
                f"digits-damaged: {self.path / name} holds {array.dtype} {array.shape}, expected {dtype} {shape}"
            )
        return array
