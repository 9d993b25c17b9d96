"""YAML that remembers where everything stands, and models that point there when something is wrong."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from harness.core.errors import Location, UsageError, first_of
from harness.model.yaml_reader import Lines, YamlError, read_yaml

Path_ = tuple[str | int, ...]
M = TypeVar("M", bound=BaseModel)
MAX_BYTES = 1 << 20
_ELSEWHERE = "x-elsewhere"
MOST_ERRORS = 20  # of one file


class Document:
    """One YAML document: its plain data, and the node tree that says where each part stands."""

    def __init__(self, path: Path, lines: Lines, node: Node, data: Any) -> None:
        self.path = path
        self.data = data
        self._lines = lines
        self._node = node

    def locate(self, path: Path_, on: Literal["key", "value"] = "value") -> Location:
        """Where the part at `path` stands; of a part that is missing, the nearest parent that is there."""
        node = self._node
        found: Node = node
        for step in path:
            child = _child(node, step)
            if child is None:
                break
            key, node = child
            found = key if on == "key" and key is not None else node
        line, column, text = self._lines.place(found.start_mark.index)
        end_line, end_column, _ = self._lines.place(found.end_mark.index)
        width = (end_column if end_line == line else len(text)) - column
        return Location(self.path, line + 1, column + 1, text, max(1, width))

    def error(
        self, path: Path_, slug: str, cause: str, remedy: str, *, on: Literal["key", "value"] = "value"
    ) -> UsageError:
        """A UsageError that points at the part at `path`."""
        return UsageError(slug, _shortened(cause), _shortened(remedy), location=self.locate(path, on))


def _child(node: Node, step: str | int) -> tuple[Node | None, Node] | None:
    if isinstance(node, MappingNode):
        for key, value in reversed(node.value):  # what was merged in comes first, and yields to the rest
            if isinstance(key, ScalarNode) and str(key.value) == str(step):
                return key, value
    elif isinstance(node, SequenceNode) and isinstance(step, int) and step < len(node.value):
        return None, node.value[step]
    return None


def load_documents(path: Path) -> list[Document]:
    """All documents of a YAML file. Raises UsageError: file-unreadable, yaml-syntax, file-empty."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise UsageError(
            "file-unreadable", f"{path}: {error.strerror}", "Check the path; it is relative to where you stand."
        ) from error
    if len(raw) > MAX_BYTES:
        raise UsageError("file-unreadable", f"{path} has {len(raw)} bytes; {MAX_BYTES} are read", "Split the file.")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(
            "file-unreadable", f"{path} is not UTF-8 at byte {error.start}", "Save it as UTF-8."
        ) from error
    lines = Lines(text)
    try:
        found = read_yaml(text)
    except YamlError as error:
        line, column, shown = lines.place(error.index)
        raise UsageError(
            "yaml-syntax",
            _shortened(error.cause),
            "Correct the YAML at the caret.",
            location=Location(path, line + 1, column + 1, shown),
        ) from error
    if not found:
        raise UsageError("file-empty", f"{path} holds no document", "Write a document with apiVersion and kind.")
    return [Document(path, lines, node, value) for node, value in found]


def _shortened(text: str, most: int = 600) -> str:
    """`text` without its middle where it is very long: a message is for reading."""
    return text if len(text) <= most else f"{text[: most // 2]} [...] {text[-(most // 4) :]}"


def _at(data: Any, path: Path_) -> Any:
    for step in path:
        data = data[step]
    return data


def parse_model(document: Document, model: type[M], at: Path_ = ()) -> M:
    """`document`, or the part of it at `at`, as `model`. Raises UsageError for the first thing that does not fit,
    with the others in its `also`: unknown-field, missing-field, bad-value; each with line, column and caret, an unknown
    field with the nearest name."""
    try:
        return model.model_validate(_at(document.data, at))
    except ValidationError as error:
        problems = error.errors(include_url=False)
        raise first_of(_all_located(document, model, problems, at)) from None


def _all_located(
    document: Document, model: type[BaseModel], problems: list[ErrorDetails], at: Path_
) -> list[UsageError]:
    """The first MOST_ERRORS, unknown fields before the rest; of several ways in which one value is wrong the first."""
    unknown = [problem for problem in problems if problem["type"] == "extra_forbidden"]
    parents = {problem["loc"][:-1] for problem in unknown}  # a typo explains what is missing beside it
    rest = [one for one in problems if one["type"] != "extra_forbidden"]
    rest = [one for one in rest if one["type"] != "missing" or one["loc"][:-1] not in parents]
    found: dict[tuple[str, str], UsageError] = {}
    for problem in [*unknown, *rest][:MOST_ERRORS]:
        error = _located(document, model, problem, at)
        found.setdefault((str(error.location), error.cause if error.slug == "missing-field" else error.slug), error)
    return list(found.values())


def _located(document: Document, model: type[BaseModel], problem: ErrorDetails, at: Path_) -> UsageError:
    absent = problem["type"] in ("extra_forbidden", "missing")
    path = _real_path(document.data, (*at, *problem["loc"]), keep_last=absent)
    where = ".".join(map(str, path)) or "the document"
    if problem["type"] in ("union_tag_invalid", "union_tag_not_found"):
        return _other_kind(document, path, problem["ctx"])
    if problem["type"] == "extra_forbidden":
        names, elsewhere = _names_at(model, path[len(at) : -1], _at(document.data, at))
        if of := elsewhere.get(str(path[-1])):
            remedy = f"It belongs to {', '.join(of)}. Known here: {', '.join(names)}."
            return document.error(path, "unknown-field", f"{where!r} is of another kind", remedy, on="key")
        near = difflib.get_close_matches(str(path[-1]), names, 1, 0.5)
        remedy = f"Did you mean {near[0]!r}?" if near else f"Known here: {', '.join(names) or 'nothing'}."
        return document.error(path, "unknown-field", f"unknown field {where!r}", remedy, on="key")
    if problem["type"] == "missing":
        return document.error(path[:-1], "missing-field", f"{where!r} is required", f"Add {path[-1]!r} here.", on="key")
    cause = problem["msg"].removeprefix("Value error, ")
    return document.error(path, "bad-value", f"{where}: {cause}", "Correct the value at the caret.")


def _real_path(data: Any, loc: Path_, *, keep_last: bool) -> Path_:
    """Pydantic's location without the steps that are its own (union members, validators)."""
    real: list[str | int] = []
    for at, step in enumerate(loc):
        if isinstance(data, dict):
            if step in data:
                data = data[step]
            elif not keep_last or at != len(loc) - 1:
                continue
        elif isinstance(data, list) and isinstance(step, int) and step < len(data):
            data = data[step]
        else:
            continue
        real.append(step)
    return tuple(real)


def _other_kind(document: Document, path: Path_, problem: Mapping[str, Any]) -> UsageError:
    """Of a part that has kinds, which `problem` knows, and is of none of them."""
    key = str(problem["discriminator"]).strip("'")
    where = ".".join(map(str, (*path, key)))
    if "tag" not in problem:
        cause = f"{where!r} is required"
        return document.error(path, "missing-field", cause, f"Add {key!r} here.", on="key")
    kinds = [kind.strip("' ") for kind in str(problem["expected_tags"]).split(",")]
    near = difflib.get_close_matches(str(problem["tag"]), kinds, 1, 0.4)
    remedy = f"Did you mean {near[0]!r}? " if near else ""
    cause = f"{where}: {problem['tag']!r} is none of those there are"
    return document.error((*path, key), "bad-value", cause, f"{remedy}There are {', '.join(kinds)}.")


def _names_at(model: type[BaseModel], path: Path_, data: Any) -> tuple[list[str], dict[str, list[str]]]:
    """The field names (aliases) that the model allows at `path` of `data`, and those of which it would allow there if
    that were of another kind, with the kinds."""
    schema = model.model_json_schema(by_alias=True)
    nodes = _walk(schema, schema, path, data)
    names = {name for node in nodes for name in node.get("properties", {})}
    elsewhere = {name: kinds for node in nodes for name, kinds in node.get(_ELSEWHERE, {}).items() if name not in names}
    return sorted(names), elsewhere


def _walk(root: dict[str, Any], node: dict[str, Any], path: Path_, data: Any) -> list[dict[str, Any]]:
    if "$ref" in node:
        node = root["$defs"][node["$ref"].rsplit("/", 1)[1]]
    if "discriminator" in node and isinstance(data, dict):
        kind = data.get(node["discriminator"]["propertyName"])
        return _walk(root, _of_kind(root, node["discriminator"]["mapping"], kind), path, data)
    alternatives = [branch for key in ("anyOf", "oneOf", "allOf") for branch in node.get(key, [])]
    if alternatives:
        return [hit for branch in alternatives for hit in _walk(root, branch, path, data)]
    if not path:
        return [node]
    step, rest = path[0], path[1:]
    inner = _inner(data, step)
    if isinstance(step, int):
        return _walk(root, node.get("items", {}), rest, inner)
    if step in node.get("properties", {}):
        return _walk(root, node["properties"][step], rest, inner)
    extra = node.get("additionalProperties")
    return _walk(root, extra, rest, inner) if isinstance(extra, dict) else []


def _inner(data: Any, step: str | int) -> Any:
    if isinstance(step, int):
        return data[step] if isinstance(data, list) and step < len(data) else None
    return data.get(step) if isinstance(data, dict) else None


def _of_kind(root: dict[str, Any], kinds: Mapping[str, str], kind: Any) -> dict[str, Any]:
    """The rules of one kind, with the names that only others have."""
    rules = {name: root["$defs"][where.rsplit("/", 1)[1]] for name, where in kinds.items()}
    elsewhere: dict[str, list[str]] = {}
    for name, rule in rules.items():
        for field in rule.get("properties", {}):
            elsewhere.setdefault(field, []).append(name)
    return {**rules.get(kind, {}), _ELSEWHERE: elsewhere}
