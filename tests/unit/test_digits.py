"""The digits artefact: what is built, that the model is the fitted one, and that the reader refuses a changed one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import joblib  # type: ignore[import-untyped]
import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.pipeline import Pipeline

from app.shared.digits import FILES, MANIFEST, MODEL, WEIGHTS, Digits, DigitsError
from app.shared.features import COLUMNS, FEATURES, model_input, profile
from model_server.build_model import TOLERANCE, build, split, verified
from model_server.model import Model
from tests.digits_support import built_digits


@pytest.fixture
def digits() -> Digits:
    return Digits.open(built_digits())


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(built_digits(), tmp_path / "digits"))


def test_the_profile_is_the_share_of_ink_in_rows_then_columns() -> None:
    image = np.zeros((8, 8))
    image[2, :] = 16
    image[5, 7] = 8
    rows, columns = [0, 0, 1, 0, 0, 1 / 16, 0, 0], [1 / 8] * 7 + [1 / 8 + 1 / 16]
    np.testing.assert_allclose(profile(image.reshape(1, 64)), [rows + columns])
    assert profile(np.full((3, 64), 16)).tolist() == [[1.0] * 16] * 3
    assert profile(np.zeros((0, 64))).shape == (0, 16)


def test_the_model_takes_pixels_and_then_the_profile() -> None:
    pixels, shares = np.full((2, 64), 3), np.full((2, 16), 0.5)
    rows = model_input(pixels, shares)
    assert rows.dtype == np.float32
    assert rows.tolist() == [[3.0] * 64 + [0.5] * 16] * 2
    assert (list(FEATURES.items()), COLUMNS) == ([("pixels", 64), ("profile", 16)], 80)


@pytest.mark.parametrize(
    ("pixels", "shares", "problem"),
    [
        ((2, 63), (2, 16), r"pixels has shape \[2, 63\], expected \[n, 64\]"),
        ((64,), (2, 16), r"pixels has shape \[64\], expected \[n, 64\]"),
        ((2, 64), (2, 17), r"profile has shape \[2, 17\], expected \[n, 16\]"),
        ((2, 64), (1, 16), "2 rows of pixels and 1 of profile"),
    ],
)
def test_other_shapes_are_refused_by_name(pixels: tuple[int, ...], shares: tuple[int, ...], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        model_input(np.zeros(pixels), np.zeros(shares))


def test_training_and_entities_share_no_image_and_hold_every_class_alike() -> None:
    labels = load_digits().target
    train, held_out = split(labels)
    assert (len(train), len(held_out)) == (1_000, 797)
    assert sorted([*train, *held_out]) == list(range(1_797))
    whole = np.bincount(labels) / 1_797
    for part in (train, held_out):
        np.testing.assert_allclose(np.bincount(labels[part]) / len(part), whole, atol=0.002)


def test_the_entities_are_the_held_out_images_in_the_order_of_their_ids(digits: Digits) -> None:
    images, labels = load_digits(return_X_y=True)
    _, held_out = split(labels)
    np.testing.assert_array_equal(digits.pixels(), images[held_out])
    np.testing.assert_array_equal(digits.labels(), labels[held_out])
    lines = [json.loads(line) for line in (digits.path / "entities.jsonl").read_text().splitlines()]
    assert lines == [{"entity_id": row, "label": int(label)} for row, label in enumerate(labels[held_out])]
    assert digits.size == 797


def test_the_manifest_says_what_the_model_is_and_how_often_it_is_right(digits: Digits) -> None:
    assert (digits.model_name, digits.model_version) == ("digits", "digits-mlp-v1")
    pixels = digits.pixels()
    probabilities = Model.load(digits).predict_proba(model_input(pixels, profile(pixels)))
    assert digits.accuracy == np.mean(probabilities.argmax(axis=1) == digits.labels())
    assert digits.accuracy >= 0.96
    assert digits.manifest["features"] == FEATURES


def test_numpy_computes_what_scikit_learn_does(digits: Digits) -> None:
    pixels = digits.pixels()
    rows = model_input(pixels, profile(pixels))
    expected = joblib.load(digits.path / MODEL).predict_proba(rows.astype(np.float64))
    found = Model.load(digits).predict_proba(rows)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=TOLERANCE)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)


def test_a_probability_does_not_overflow_on_rows_far_from_any_digit(digits: Digits) -> None:
    rows = np.full((2, COLUMNS), [[1e6], [-1e6]], dtype=np.float32)
    found = Model.load(digits).predict_proba(rows)
    assert np.isfinite(found).all()


def test_the_same_machine_builds_the_same_artefact(tmp_path: Path, digits: Digits) -> None:
    build(tmp_path)
    assert Digits.open(tmp_path).manifest == digits.manifest


def test_a_model_that_is_too_often_wrong_is_refused(digits: Digits) -> None:
    rows, labels = model_input(digits.pixels(), profile(digits.pixels())), np.array(digits.labels())
    pipeline = joblib.load(digits.path / MODEL)
    assert verified(pipeline, rows, labels)[1] == digits.accuracy
    labels[:40] += 1
    with pytest.raises(DigitsError, match=r"model-inaccurate: 0\.9\d+ of the entities .* at least 0\.96"):
        verified(pipeline, rows, labels)


def test_weights_that_compute_something_else_are_refused(digits: Digits) -> None:
    class Shifted(Pipeline):  # type: ignore[misc]
        def predict_proba(self, rows: Any) -> Any:
            return super().predict_proba(rows + 0.01)

    rows = model_input(digits.pixels(), profile(digits.pixels()))
    with pytest.raises(DigitsError, match="model-differs: numpy and scikit-learn disagree by 0"):
        verified(Shifted(joblib.load(digits.path / MODEL).steps), rows, digits.labels())


def test_a_build_that_is_cut_short_leaves_no_manifest(tmp_path: Path) -> None:
    (tmp_path / MODEL).mkdir()  # where no file can then be written
    (tmp_path / MANIFEST).write_text("of an older build")
    with pytest.raises(IsADirectoryError):
        build(tmp_path)
    assert not (tmp_path / MANIFEST).exists()


@pytest.mark.parametrize("name", FILES)
def test_a_changed_file_is_refused_by_name(copy: Path, name: str) -> None:
    content = bytearray((copy / name).read_bytes())
    content[-2] ^= 1
    (copy / name).write_bytes(content)
    with pytest.raises(DigitsError, match=rf"digits-damaged: .*{name}.* python -m model_server.build_model"):
        Digits.open(copy)


def test_a_missing_file_is_refused_by_name(copy: Path) -> None:
    (copy / FILES[0]).unlink()
    with pytest.raises(DigitsError, match=f"digits-damaged: .*{FILES[0]} is missing"):
        Digits.open(copy)


@pytest.mark.parametrize(
    ("content", "slug"),
    [
        (None, "digits-missing"),
        ("{", "digits-damaged"),
        ("[]", "digits-outdated"),
        ('{"schema": "x"}', "digits-outdated"),
    ],
)
def test_a_manifest_that_cannot_be_used(copy: Path, content: str | None, slug: str) -> None:
    if content is None:
        (copy / MANIFEST).unlink()
    else:
        (copy / MANIFEST).write_text(content)
    with pytest.raises(DigitsError, match=slug):
        Digits.open(copy)


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("sha256", "0" * 64, "disagrees with itself"),
        ("accuracy", None, "says accuracy None"),
        ("entities", "797", "says entities '797'"),
        ("model_version", 1, "says model_version 1"),
    ],
)
def test_a_manifest_that_was_changed(copy: Path, field: str, value: object, problem: str) -> None:
    manifest = json.loads((copy / MANIFEST).read_text())
    manifest[field] = value
    (copy / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(DigitsError, match=f"digits-damaged: .*{problem}"):
        Digits.open(copy)


def test_an_array_that_does_not_fit_the_manifest(copy: Path) -> None:
    manifest = json.loads((copy / MANIFEST).read_text())
    (copy / MANIFEST).write_text(json.dumps({**manifest, "entities": 796}))
    with pytest.raises(DigitsError, match=r"pixels\.npy holds float32 \(797, 64\), expected float32 \(796, 64\)"):
        Digits.open(copy).pixels()


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda weights: weights.pop("output"), "no output among the weights"),
        (lambda weights: weights.update(hidden=weights["hidden"][:-1]), r"weights of shapes \[\(79, 128\)"),
        (lambda weights: weights.update(hidden=weights["hidden"].astype(float)), "not float32"),
    ],
)
def test_weights_that_are_no_model(copy: Path, digits: Digits, change: Any, problem: str) -> None:
    with np.load(copy / WEIGHTS) as file:
        weights = dict(file)
    change(weights)
    np.savez(copy / WEIGHTS, **weights)
    with pytest.raises(DigitsError, match=f"digits-damaged: .*{problem}.* python -m model_server.build_model"):
        Model.load(Digits(copy, digits.manifest))
