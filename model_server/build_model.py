"""`python -m model_server.build_model DIR`: train the digits model, and write it with the entities it never saw.

The data is scikit-learn's own copy of the UCI digits (1,797 images of 8 x 8). 1,000 train the model; the other 797
become the entities that are asked for, so that the accuracy in the manifest is what the running service must show.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.shared.artefact import combined_hash, sha256_of
from app.shared.digits import (
    CLASSES,
    ENTITIES,
    FILES,
    LABELS,
    MANIFEST,
    MODEL,
    MODEL_NAME,
    MODEL_VERSION,
    PIXELS,
    SCHEMA,
    WEIGHTS,
    DigitsError,
)
from app.shared.features import FEATURES, Matrix, model_input, profile
from model_server.model import Model

TRAIN_COUNT = 1_000
HIDDEN = 128
SEED = 0
MIN_ACCURACY = 0.96
TOLERANCE = 1e-4  # between the probabilities of scikit-learn in float64 and ours in float32


def split(labels: NDArray[np.int64]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows to train on and rows to hold out, every class in both by its share; the same for each call."""
    from sklearn.model_selection import train_test_split

    train, held_out = train_test_split(
        np.arange(len(labels)), train_size=TRAIN_COUNT, stratify=labels, random_state=SEED
    )
    return train, held_out


def fit(rows: Matrix, labels: NDArray[np.int64]) -> Any:
    """A scikit-learn pipeline of scaling and a perceptron, fitted on (n, 80) rows; under a second on one core."""
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    network = MLPClassifier((HIDDEN,), alpha=1.0, solver="lbfgs", max_iter=300, random_state=SEED)
    with threadpool_limits(1, user_api="blas"):  # the order of additions, and so the result, depends on the threads
        return make_pipeline(StandardScaler(), network).fit(rows.astype(np.float64), labels)


def weights_of(pipeline: Any) -> dict[str, Matrix]:
    """The fitted pipeline as the matrices of `model_server.model.Model`; the scaling goes into the first layer."""
    scaler, network = pipeline[0], pipeline[-1]
    hidden = network.coefs_[0] / scaler.scale_[:, None]
    exact = {
        "hidden": hidden,
        "hidden_bias": network.intercepts_[0] - scaler.mean_ @ hidden,
        "output": network.coefs_[1],
        "output_bias": network.intercepts_[1],
    }
    return {name: np.ascontiguousarray(matrix, dtype=np.float32) for name, matrix in exact.items()}


def verified(pipeline: Any, rows: Matrix, labels: NDArray[np.int64]) -> tuple[dict[str, Matrix], float]:
    """The weights of the fitted pipeline, and their accuracy on the held-out (n, 80) rows.

    Raises DigitsError where numpy does not compute what scikit-learn does, or the model is worse than it must be.
    """
    weights = weights_of(pipeline)
    expected = pipeline.predict_proba(rows.astype(np.float64))
    found = Model(weights).predict_proba(rows)
    difference = float(np.abs(found - expected).max())
    if difference > TOLERANCE or not np.array_equal(found.argmax(axis=1), expected.argmax(axis=1)):
        raise DigitsError(
            f"model-differs: numpy and scikit-learn disagree by {difference:.2g} in a probability, at most "
            f"{TOLERANCE:g} is rounding; install the project's own versions of both (make install) and retry"
        )
    accuracy = float(np.mean(found.argmax(axis=1) == labels))
    if accuracy < MIN_ACCURACY:
        raise DigitsError(
            f"model-inaccurate: {accuracy:.4f} of the entities are labelled rightly, at least {MIN_ACCURACY} must be; "
            "install the project's own versions of numpy and scikit-learn (make install) and retry"
        )
    return weights, accuracy


def build(directory: Path) -> None:
    """Write the artefact into `directory`. Raises DigitsError when the model cannot be used."""
    progress = Progress()
    import joblib  # type: ignore[import-untyped]
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    pixels, labels = images.astype(np.float32), labels.astype(np.int64)
    rows = model_input(pixels, profile(pixels))
    train, held_out = split(labels)
    progress(f"{len(train):,} of {len(labels):,} images to train on, {len(held_out):,} held out as entities")
    pipeline = fit(rows[train], labels[train])
    weights, accuracy = verified(pipeline, rows[held_out], labels[held_out])
    progress(f"trained {MODEL_VERSION}, accuracy {accuracy:.4f} on the entities")

    directory.mkdir(parents=True, exist_ok=True)
    (directory / MANIFEST).unlink(missing_ok=True)  # an unfinished artefact has none
    joblib.dump(pipeline, directory / MODEL)
    np.savez(directory / WEIGHTS, **weights)  # type: ignore[arg-type]
    np.save(directory / PIXELS, pixels[held_out])
    np.save(directory / LABELS, labels[held_out])
    with (directory / ENTITIES).open("w", encoding="utf-8") as file:
        for entity, label in enumerate(labels[held_out].tolist()):
            file.write(json.dumps({"entity_id": entity, "label": label}) + "\n")
    digest = _write_manifest(directory, train_count=len(train), entities=len(held_out), accuracy=accuracy)
    size = sum((directory / name).stat().st_size for name in FILES) >> 10
    progress(f"wrote {directory} ({size:,} KiB, sha256 {digest[:12]})")


class Progress:
    """Prints each step with the seconds since the start."""

    def __init__(self) -> None:
        self._start = time.monotonic()

    def __call__(self, message: str) -> None:
        sys.stdout.write(f"digits {time.monotonic() - self._start:5.1f} s  {message}\n")
        sys.stdout.flush()


def _write_manifest(directory: Path, *, train_count: int, entities: int, accuracy: float) -> str:
    import sklearn

    files = {name: sha256_of(directory / name) for name in FILES}
    manifest = {
        "schema": SCHEMA,
        "model_name": MODEL_NAME,
        "model_version": MODEL_VERSION,
        "features": FEATURES,
        "classes": CLASSES,
        "train_count": train_count,
        "entities": entities,
        "accuracy": accuracy,
        "versions": {
            "python": platform.python_version(),
            "numpy": np.__version__,
            "scikit-learn": sklearn.__version__,
        },
        "files": files,
        "sha256": combined_hash(files),
    }
    unfinished = directory / f"{MANIFEST}.{os.getpid()}"
    unfinished.write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    unfinished.replace(directory / MANIFEST)
    return str(manifest["sha256"])


def main() -> int:
    """Exit code 0 when the artefact is complete, 1 when the model cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m model_server.build_model", description="Build the digits model.")
    parser.add_argument("directory", type=Path, metavar="DIR", help="where to write it; created when missing")
    try:
        build(parser.parse_args().directory)
    except DigitsError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
