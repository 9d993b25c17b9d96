"""The fenced blocks of the documents: finding them, and running their commands in a scratch copy of this project."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer.main
from markdown_it import MarkdownIt
from typer.testing import CliRunner

from harness.cli.main import app
from harness.core.errors import HarnessError
from harness.core.outcome import exit_code

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "ARCHITECTURE.md", ROOT / "CHANGELOG.md", *sorted(ROOT.glob("docs/*.md"))]
COLUMNS = 100
_COPIED = ("stack.yaml", "slos", "scenarios", "monitoring", "docs")
_EXITS = re.compile(r"#.*\bexits with (\d+)")


@dataclass(frozen=True)
class Block:
    """kind: the word after the fence; line: of the fence, from 1."""

    page: Path
    line: int
    kind: str
    text: str

    @property
    def id(self) -> str:
        return f"{self.page.name}:{self.line}"


@dataclass(frozen=True)
class Command:
    """One line of a shell block. wanted: the exit code that its comment promises; output: what the page shows."""

    words: tuple[str, ...]
    wanted: int = 0
    output: str = ""

    @property
    def said(self) -> str:
        return " ".join(self.words)


def blocks_of(page: Path) -> list[Block]:
    """All code of a page, the indented too, which has no kind."""
    tokens = MarkdownIt().parse(page.read_text(encoding="utf-8"))
    return [
        Block(page, token.map[0] + 1, token.info.strip(), token.content)
        for token in tokens
        if token.type in ("fence", "code_block") and token.map is not None
    ]


def commands_of(block: Block) -> list[Command]:
    """The lines of a `sh` block; of a `console` block the lines after `$`, each with the output below it."""
    if block.kind == "sh":
        return [_command(line, "") for line in block.text.splitlines() if line.strip()]
    found: list[tuple[str, list[str]]] = []
    for line in block.text.splitlines():
        if line.startswith("$ "):
            found.append((line.removeprefix("$ "), []))
        else:
            found[-1][1].append(line)
    return [_command(line, "\n".join(output)) for line, output in found]


def _command(line: str, output: str) -> Command:
    exits = _EXITS.search(line)
    return Command(tuple(shlex.split(line, comments=True)), int(exits[1]) if exits else 0, output)


def scratch_copy(directory: Path) -> None:
    """What commands of the pages read, where they may write."""
    for name in _COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, directory / name)
        else:
            shutil.copy(ROOT / name, directory / name)


def run_harness(words: Sequence[str]) -> tuple[int, str]:
    """Exit code and output of `harness ...`, in the current directory; patterns are expanded as a shell would."""
    arguments = [one for word in words for one in (sorted(map(str, Path().glob(word))) if "*" in word else [word])]
    done = CliRunner(env={"COLUMNS": str(COLUMNS)}).invoke(app, arguments)
    if isinstance(done.exception, HarnessError):
        return exit_code(done.exception.outcome), done.output + done.exception.render() + "\n"
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.output


def parse_harness(words: Sequence[str]) -> None:
    """Let the real parser read `harness ...` without running it. Raises what it raises."""
    command: Any = typer.main.get_command(app)
    name, rest = "harness", list(words)
    while True:
        context = command.make_context(name, rest)
        if not hasattr(command, "resolve_command"):
            return
        name, command, rest = command.resolve_command(context, [*context._protected_args, *context.args])


def plain(output: str) -> list[str]:
    """Lines without the space at their ends, and without empty ones at the end."""
    return [line.rstrip() for line in output.rstrip().splitlines()]
