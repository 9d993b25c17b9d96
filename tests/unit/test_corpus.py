"""The artefact: what is built, that it is exact, and that the reader refuses what was changed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from app.build_corpus import build, fit, split
from app.corpus import FILES, MANIFEST, Corpus, CorpusError
from app.docstrings import bag_of_terms
from app.embedding import DIMENSIONS, Embedder, tokenise
from tests.app_support import PASSAGES, QUERIES, docstrings, open_small_corpus, small_corpus


def test_terms_fall_out_of_names_and_prose() -> None:
    assert tokenise("readHTTPHeader(max_size=2) of an x") == ["read", "httpheader", "max", "size", "of", "an"]


def test_numpy_embeds_as_scikit_learn_would() -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer

    texts = [one.text for one in docstrings(600)]
    embedder = fit(texts)
    reference = TfidfVectorizer(analyzer=tokenise, min_df=2, max_df=0.3, sublinear_tf=True).fit(texts)
    assert tuple(reference.get_feature_names_out()) == embedder.terms
    components = embedder.rows / reference.idf_[:, None]
    one, two = embedder.terms[50], embedder.terms[60]
    asked = [*texts[:20], f"{one} {one} {one} {two} unheardof", f"{one.upper()}_{two}"]
    expected = reference.transform(asked) @ components
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(np.stack([embedder.embed(text) for text in asked]), expected, atol=2e-5)


def test_a_text_without_a_known_term_is_the_zero_vector() -> None:
    embedder = Embedder(["known"], np.ones((1, DIMENSIONS), dtype=np.float32))
    assert not embedder.embed("?!").any()
    assert embedder.embed("Known known")[0] == pytest.approx(DIMENSIONS**-0.5)


def test_counts_ids_and_unit_vectors() -> None:
    corpus = open_small_corpus()
    passages = list(corpus.passages())
    assert corpus.size == len(passages) == PASSAGES
    assert [passage.id for passage in passages] == list(range(PASSAGES))
    assert len(list(corpus.queries())) == QUERIES
    np.testing.assert_allclose(np.linalg.norm(corpus.vectors(), axis=1), 1, atol=1e-5)
    embedder = corpus.embedder()
    np.testing.assert_array_equal(corpus.vectors()[7], embedder.embed(passages[7].text))


def test_neighbours_are_the_exact_ones() -> None:
    corpus = open_small_corpus()
    vectors = np.asarray(corpus.vectors(), dtype=np.float64)
    for query, asked in zip(corpus.queries(), corpus.query_vectors(), strict=True):
        cosines = [float(np.dot(row, asked)) for row in vectors]
        exact = sorted(range(PASSAGES), key=lambda row: -cosines[row])
        assert len(set(query.neighbours)) == 100
        # float32 may swap neighbours that are a rounding apart, nothing more
        assert [cosines[row] for row in query.neighbours] == pytest.approx([cosines[row] for row in exact[:100]])


def test_no_query_is_a_document() -> None:
    doubled = [one for one in docstrings(400) for _ in range(2)]
    assert split(doubled, passages=800, queries=20).queries == []  # each of them has a twin in the corpus
    parts = split(docstrings(400), passages=200, queries=10)
    bags = {bag_of_terms(passage.text) for passage in parts.passages}
    assert len(parts.queries) == 10 and len(parts.passages) == 200
    assert not {bag_of_terms(query) for query in parts.queries} & bags


def test_the_same_text_gives_the_same_artefact(tmp_path: Path) -> None:
    build(tmp_path, docstrings(PASSAGES + 600), PASSAGES, QUERIES, minimum=PASSAGES)
    assert Corpus.open(tmp_path).manifest["sha256"] == open_small_corpus().manifest["sha256"]


def test_too_little_text_is_refused_and_leaves_no_artefact(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"corpus-too-small: .* at least 20,000"):
        build(tmp_path / "out", docstrings(700), 20_480, QUERIES, minimum=20_000)
    assert not (tmp_path / "out" / MANIFEST).exists()


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(small_corpus(), tmp_path / "corpus"))


@pytest.mark.parametrize("name", FILES)
def test_a_changed_file_is_refused_by_name(copy: Path, name: str) -> None:
    content = bytearray((copy / name).read_bytes())
    content[-2] ^= 1
    (copy / name).write_bytes(content)
    with pytest.raises(CorpusError, match=rf"corpus-damaged: .*{name}.* python -m app.build_corpus"):
        Corpus.open(copy)


def test_a_missing_file_is_refused_by_name(copy: Path) -> None:
    (copy / FILES[0]).unlink()
    with pytest.raises(CorpusError, match=f"corpus-damaged: .*{FILES[0]} is missing"):
        Corpus.open(copy)


@pytest.mark.parametrize(
    ("content", "slug"),
    [
        (None, "corpus-missing"),
        ("{", "corpus-damaged"),
        ("[]", "corpus-outdated"),
        ('{"schema": "x"}', "corpus-outdated"),
    ],
)
def test_a_manifest_that_cannot_be_used(copy: Path, content: str | None, slug: str) -> None:
    if content is None:
        (copy / MANIFEST).unlink()
    else:
        (copy / MANIFEST).write_text(content)
    with pytest.raises(CorpusError, match=slug):
        Corpus.open(copy)


def test_the_manifests_own_hash_is_checked(copy: Path) -> None:
    manifest = json.loads((copy / MANIFEST).read_text())
    manifest["sha256"] = "0" * 64
    (copy / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(CorpusError, match="disagrees with itself"):
        Corpus.open(copy)
