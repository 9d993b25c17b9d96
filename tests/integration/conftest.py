"""Fixtures of more than one file here."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.links_lab import Lab


@pytest.fixture(scope="module")
def links_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    one = Lab(tmp_path_factory.mktemp("links"))
    yield one
    one.close()


@pytest.fixture
def lab(links_lab: Lab) -> Iterator[Lab]:
    """A proxy with links. Every test leaves a link behind that works, and no open connection on it."""
    yield links_lab
    links_lab.check_clean()
