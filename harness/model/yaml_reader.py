"""YAML as nodes and data in one pass, with limits: whatever is wrong with a text is refused at its place."""

from __future__ import annotations

import io
import re
import warnings
from bisect import bisect_right
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer
from ruamel.yaml.constructor import SafeConstructor
from ruamel.yaml.error import MarkedYAMLError, YAMLWarning
from ruamel.yaml.events import AliasEvent
from ruamel.yaml.nodes import Node, ScalarNode
from ruamel.yaml.reader import ReaderError
from ruamel.yaml.scanner import Scanner

MAX_DEPTH = 50  # levels within each other: ours have ten, and a few hundred would end the interpreter's stack
MAX_PARTS = 50_000  # with aliases written out: nine lines of aliases of aliases make a thousand million parts
_LINE_BREAK = re.compile("\r\n|[\n\r]")  # as YAML 1.2 and editors have it; str.splitlines() knows eight more


class YamlError(Exception):
    """`cause` at character number `index`, from 0, of the text."""

    def __init__(self, cause: str, index: int) -> None:
        super().__init__(cause, index)
        self.cause, self.index = cause, index


class Lines:
    """The lines of a text, and where its characters stand in them. Marks of nodes have lines and columns too, but count
    them by other rules in each version of YAML."""

    def __init__(self, text: str) -> None:
        self.lines = _LINE_BREAK.split(text)
        self._starts = [0, *(found.end() for found in _LINE_BREAK.finditer(text))]

    def place(self, index: int) -> tuple[int, int, str]:
        """Line and column, from 0, of character number `index`, and the text of that line."""
        line = bisect_right(self._starts, index) - 1
        return line, min(index - self._starts[line], len(self.lines[line])), self.lines[line]


def read_yaml(text: str) -> list[tuple[Node, Any]]:
    """Each document of `text` that is not empty: its nodes, merge keys resolved, and its plain data.

    Raises YamlError.
    """
    yaml = YAML(typ="safe", pure=True)
    yaml.Scanner, yaml.Composer, yaml.Constructor, yaml.max_depth = _Scanner, _Composer, _Constructor, MAX_DEPTH
    found = []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", YAMLWarning)  # of an anchor that is given twice: YAML allows it
            for node in yaml.compose_all(io.StringIO(text)):
                value = None if node is None else yaml.constructor.construct_document(node)
                if value is not None:
                    found.append((node, value))
    except ReaderError as error:
        raise YamlError(f"the character U+{error.character:04X} is not allowed", error.position) from None
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        cause = " ".join(filter(None, (error.context, error.problem))) or "not YAML"
        raise YamlError(cause, mark.index if mark else 0) from None
    return found


class _Scanner(Scanner):
    """Refuses brackets that are too deep before it looks ahead: it looks a thousand characters, for a colon."""

    def fetch_flow_collection_start(self, TokenClass: Any, to_push: str) -> None:
        if len(self.flow_context) >= MAX_DEPTH:
            problem = f"more than {MAX_DEPTH} brackets within each other"
            raise MarkedYAMLError(problem=problem, problem_mark=self.reader.get_mark())
        super().fetch_flow_collection_start(TokenClass, to_push)


class _Composer(Composer):
    """Counts the parts of a document as if its aliases were written out, and refuses one that holds itself."""

    def __init__(self, loader: Any = None) -> None:
        super().__init__(loader)
        self._parts = 0
        self._within: dict[str, int] = {}  # anchor -> parts below it
        self._open: list[str] = []  # anchors of the nodes that are being read

    def compose_document(self) -> Any:
        self._parts = 0
        self._within.clear()
        return super().compose_document()

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.parser.peek_event()
        anchor = event.anchor
        if isinstance(event, AliasEvent):
            if anchor in self._open:
                raise MarkedYAMLError(problem=f"{anchor!r} holds itself", problem_mark=event.start_mark)
            self._count(self._within.get(anchor, 0), event)
            return super().compose_node(parent, index)
        before = self._parts
        self._count(1, event)
        if anchor is None:
            return super().compose_node(parent, index)
        self._open.append(anchor)
        node = super().compose_node(parent, index)
        self._open.pop()
        self._within[anchor] = self._parts - before
        return node

    def _count(self, parts: int, event: Any) -> None:
        self._parts += parts
        if self._parts > MAX_PARTS:
            problem = f"more than {MAX_PARTS:,} parts, aliases written out"
            raise MarkedYAMLError(problem=problem, problem_mark=event.start_mark)


class _Constructor(SafeConstructor):
    """Says where a scalar stands that is not what its form or its tag promises, such as 2026-13-40."""

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        try:
            if isinstance(node, ScalarNode):
                node.value.encode()  # half a character, as "\\ud83d" is, can be written nowhere
            return super().construct_object(node, deep)
        except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError) as error:
            problem = f"this is no {str(node.tag).rpartition(':')[2]}: {error}"
            raise MarkedYAMLError(problem=problem, problem_mark=node.start_mark) from None
