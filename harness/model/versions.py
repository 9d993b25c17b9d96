"""What differs between the versions of a server, from the one table of it: monitoring/schema/versions.yaml."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field

from harness.model.source import load_documents, parse_model

# a wheel holds the file itself beside this module; in a checkout what is there is a link to the one in monitoring/
TABLE = Path(__file__).with_suffix(".yaml")

Version = tuple[int, ...]


class VersionUnknown(LookupError):
    """The table says nothing of this version; it is no error of the server's."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Setting(_Part):
    """A setting that versions from `since` up to, and without, `until` know; instead: what does the same in others."""

    since: str
    until: str | None = None
    instead: str = ""

    def known_to(self, version: Version) -> bool:
        return parse_version(self.since) <= version and (self.until is None or version < parse_version(self.until))


class Entry(_Part):
    """What holds from `from` up to, and without, `until`; source: where that is known from."""

    from_: str = Field(alias="from")
    until: str
    source: str


class Milvus(Entry):
    """series: name -> its labels, sorted; rest: what -> (method, path)."""

    series: Mapping[str, tuple[str, ...]]
    rest: Mapping[str, tuple[str, str]]


class Prometheus(Entry):
    """scrape: settings of a scrape job that not all these versions know."""

    scrape: Mapping[str, Setting]


E = TypeVar("E", bound=Entry)


class VersionTable(_Part):
    apiVersion: str
    kind: str
    milvus: tuple[Milvus, ...]
    prometheus: tuple[Prometheus, ...]


def parse_version(text: str) -> Version:
    """The numbers at the beginning, as they compare: (2, 3, 5) for `v2.3.5-dev`. Raises ValueError: there are none."""
    found = re.match(r"v?(\d+(?:\.\d+)*)", text)
    if found is None:
        raise ValueError(f"{text!r} is no version")
    return tuple(int(number) for number in found[1].split("."))


def milvus_of(version: str) -> Milvus:
    """What holds for a Milvus of this version. Raises VersionUnknown, ValueError."""
    return _covering("Milvus", version_table().milvus, version)


def prometheus_of(version: str) -> Prometheus:
    """What holds for a Prometheus of this version. Raises VersionUnknown, ValueError."""
    return _covering("Prometheus", version_table().prometheus, version)


@cache
def version_table() -> VersionTable:
    """The table. Raises UsageError, located, where it is wrong."""
    (document,) = load_documents(TABLE)
    return parse_model(document, VersionTable)


def _covering(server: str, entries: Sequence[E], version: str) -> E:
    asked = parse_version(version)
    for one in entries:
        if parse_version(one.from_) <= asked < parse_version(one.until):
            return one
    known = ", ".join(f"{one.from_} to before {one.until}" for one in entries)
    raise VersionUnknown(f"{TABLE.name} says nothing of {server} {version}, only of {known}")
