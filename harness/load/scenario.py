"""Importing a scenario file: its user classes, or why it cannot be used and where."""

from __future__ import annotations

import importlib.util
import sys
import traceback
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness.load.users import RecordingUser, user_classes


@dataclass(eq=False)
class ScenarioFailure(Exception):
    """kind: import | empty; error: one line; line, column: in the scenario file, from 1, if known; trace: the whole
    traceback."""

    kind: str
    error: str
    line: int | None = None
    column: int | None = None
    trace: str = ""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def import_scenario(path: Path) -> list[type[RecordingUser]]:
    """The user classes that the file defines or imports, as Locust itself would find them. Raises ScenarioFailure."""
    for directory in (path.parent.parent, path.parent):
        if str(directory) not in sys.path:
            sys.path.insert(0, str(directory))
    name = path.stem if path.stem not in sys.modules else f"scenario_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException as error:  # the user's code may raise anything, SystemExit too
        raise _failure(path, error) from error
    if not (users := user_classes(vars(module))):
        raise ScenarioFailure("empty", "it defines no user class")
    for one in users:
        if not issubclass(one, RecordingUser):
            raise ScenarioFailure("empty", f"{one.__name__} is no RecordingUser: its requests would not be recorded")
        if not one.tasks:
            raise ScenarioFailure("empty", f"{one.__name__} has no task")
        if not one.weight > 0:
            raise ScenarioFailure("empty", f"{one.__name__} has weight {one.weight}, which must be above 0")
    return users


def _failure(path: Path, error: BaseException) -> ScenarioFailure:
    trace = "".join(traceback.format_exception(error))
    said = f"{type(error).__name__}: {error}"
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return ScenarioFailure("import", f"{type(error).__name__}: {error.msg}", error.lineno, error.offset, trace)
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return ScenarioFailure("import", said, lines[-1] if lines else None, None, trace)
