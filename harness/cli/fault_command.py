"""One fault as a command: its parameters become arguments and options."""

from __future__ import annotations

import inspect
import shlex
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import orjson
import typer
import typer.main
from pydantic.fields import FieldInfo
from typer.models import CommandInfo

from harness.core.duration import format_duration
from harness.core.errors import UsageError
from harness.faults.examples import EXAMPLES
from harness.faults.fault import Fault
from harness.faults.making import make
from harness.faults.parameters import is_main
from harness.faults.units import seconds_of
from harness.model.events import Event, FaultEvent
from harness.report.fault_lines import counters_text, fault_line
from harness.stack.runtime import Stack, find_running, list_running

STACK, JSON = "stack_file", "as_json"  # of every command, beside the parameters
SLACK = 0.05  # seconds, after which what ends by itself has ended


def command_for(made: type[Fault]) -> Any:
    """The command `harness fault NAME`."""
    parameters = [_parameter(made, name, field) for name, field in made.takes.model_fields.items()]
    parameters.sort(key=lambda one: not isinstance(one.default, typer.models.ArgumentInfo))
    stack = typer.Option(Path("stack.yaml"), "--stack", help="The stack file")
    as_json = typer.Option(False, "--json", help="One line of JSON an event, with keys that stay")
    parameters += [_keyword(STACK, stack, Path), _keyword(JSON, as_json, bool)]

    def callback(**given: Any) -> None:
        file, told = given.pop(STACK), given.pop(JSON)
        _hold(made, {name: value for name, value in given.items() if value is not None}, file, told)

    callback.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    callback.__annotations__ = {one.name: one.annotation for one in parameters}
    info = CommandInfo(name=made.name, callback=callback, help=_help(made), short_help=_summary(made))
    return typer.main.get_command_from_info(info, pretty_exceptions_short=False, rich_markup_mode=None)


def _keyword(name: str, default: Any, annotation: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _parameter(made: type[Fault], name: str, field: FieldInfo) -> inspect.Parameter:
    """Texts go to the model as they are, which says what is wrong with them; what is not given keeps its default."""
    help_ = field.description or ""
    if not field.is_required() and field.default is not None:
        help_ += f" [default: {str(field.default).lower() if isinstance(field.default, bool) else field.default}]"
    nothing = ... if field.is_required() else None
    choice = get_origin(field.annotation) is Literal
    if is_main(made.takes, name):
        annotation = _type_of_choices(field.annotation) if choice else str
        return _keyword(name, typer.Argument(nothing, help=help_, metavar=name.upper()), annotation)
    flag = "for" if name == "lasting" else name.replace("_", "-")
    if field.annotation is bool:
        return _keyword(name, typer.Option(nothing, f"--{flag}/--no-{flag}", help=help_), bool)
    if choice:
        return _keyword(name, typer.Option(nothing, f"--{flag}", help=help_), _type_of_choices(field.annotation))
    metavar = "DURATION" if name == "lasting" else name.upper()
    return _keyword(name, typer.Option(nothing, f"--{flag}", help=help_, metavar=metavar), str)


def _type_of_choices(annotation: Any) -> Any:
    """Choices of texts are the parser's to offer; others are numbers, which the model compares."""
    first = get_args(annotation)[0]
    return annotation if isinstance(first, str) else type(first)


def _summary(made: type[Fault]) -> str:
    """The first line of its module: what it does."""
    doc = inspect.getdoc(sys.modules[made.__module__]) or ""
    return " ".join(doc.split("\n\n")[0].split())


def _help(made: type[Fault]) -> str:
    how = "Ctrl-C ends it, or SIGTERM, or --for; if this process is killed, it is undone all the same."
    return f"{_summary(made)}\n\n{how}\n\nExamples:\n\n  {example(made)} --for 30s"


def example(made: type[Fault]) -> str:
    """A command that would do something on the reference system."""
    given = EXAMPLES.get(made.name, {})
    words = ["harness", "fault", made.name]
    for name, field in made.takes.model_fields.items():
        if name in given or field.is_required():
            flag = [] if is_main(made.takes, name) else [f"--{name.replace('_', '-')}"]
            words += [*flag, shlex.quote(str(given.get(name, name.upper())))]
    return " ".join(words)


def running(file: Path) -> Stack:
    """The stack of `file` that is up. Raises UsageError stack-not-up."""
    found = find_running(file, whole=False)  # another fault may be on it
    if found is None:
        changed = [one.id for one in list_running() if one.path == str(file.resolve())]
        told = (
            f"; stack {', '.join(changed)} of it is up, and something of it, or of its files, changed"
            if changed
            else ""
        )
        remedy = "`harness stack up` starts one" + (", after `harness stack down`." if changed else ".")
        raise UsageError("stack-not-up", f"no stack of {file} is up{told}", remedy)
    return found


def _hold(made: type[Fault], values: Mapping[str, Any], file: Path, as_json: bool) -> None:
    """Break it, wait for the end, undo it. Ctrl-C while it is in force is the ordinary way to end it."""
    stack = running(file)
    fault = make(stack, made.name, values, _teller(as_json))
    lasting = values.get("lasting")
    seconds = None if lasting is None else seconds_of("lasting", lasting)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    if signal.getsignal(signal.SIGINT) != signal.default_int_handler:  # of a shell's background jobs it is ignored
        signal.signal(signal.SIGINT, signal.default_int_handler)
    fault.begin()
    try:
        _wait(fault, seconds, _ticker(as_json))
    except KeyboardInterrupt:
        pass
    finally:
        fault.end()


def _wait(fault: Fault, seconds: float | None, tick: Callable[[float | None, Mapping[str, int]], None]) -> None:
    """Until so many seconds are over, or for ever; tells once a second what it has done."""
    began = time.monotonic()
    until = None if seconds is None else began + seconds + SLACK
    due = began + 1
    while until is None or time.monotonic() < until:
        wake = due if until is None else min(due, until)
        time.sleep(max(0.0, wake - time.monotonic()))
        if wake == due:
            tick(None if until is None else max(0.0, until - due), fault.counters())
            due += 1


def _teller(as_json: bool) -> Callable[[Event], None]:
    def tell(event: Event) -> None:
        if as_json:
            _write_json({"kind": event.kind, **event.payload()})
        elif isinstance(event, FaultEvent):
            _write(("\r\x1b[K" if sys.stdout.isatty() else "") + fault_line(event))

    return tell


def _ticker(as_json: bool) -> Callable[[float | None, Mapping[str, int]], None]:
    def tick(left: float | None, counters: Mapping[str, int]) -> None:
        if as_json:
            _write_json({"kind": "fault-progress", "seconds_left": left, "counters": dict(counters)})
            return
        how_long = "until Ctrl-C" if left is None else f"{format_duration(round(left) * 1e9)} left"
        text = ", ".join(filter(None, (f"  {how_long}", counters_text(counters))))
        _write(f"\r\x1b[K{text}" if sys.stdout.isatty() else text, end="" if sys.stdout.isatty() else "\n")

    return tick


def _write(text: str, end: str = "\n") -> None:
    print(text, end=end, flush=True)


def _write_json(value: dict[str, Any]) -> None:
    _write(orjson.dumps(value).decode())
