"""A Go module small enough to compile in a test, without network, and the table that names it to the installer.

`python -m tests.integration.tiny_go DIRECTORY` is the install command with that table, and with a line of progress for
each line of the compiler.
"""

from __future__ import annotations

import sys
from pathlib import Path
from unittest import mock

from harness.cli import install
from harness.stack import install_go
from harness.stack.toolspec import GoSource, Kit, ToolSpec

_TOOLS = """\
module example.test/tools

go 1.24

tool example.test/tool/cmd/hello

require example.test/tool v1.2.3 // indirect

replace example.test/tool => ./tool
"""
WORKS = """\
package main

var Version string

func main() { println("hello, version " + Version) }
"""
FAILS = """\
package main

func main() { println(nothing) }
"""


def write_module(directory: Path, main: str = WORKS) -> ToolSpec:
    """The module below `directory`, its go.mod pinning version 1.2.3 of a tool, and the tool."""
    command = directory / "tool/cmd/hello"
    command.mkdir(parents=True, exist_ok=True)
    (directory / "go.mod").write_text(_TOOLS)
    (directory / "tool/go.mod").write_text("module example.test/tool\n\ngo 1.24\n")
    (command / "main.go").write_text(main)
    return spec(directory)


def spec(directory: Path) -> ToolSpec:
    """How the table would name it."""
    source = GoSource(("example.test/tool/cmd/hello",), 2, 0.1, "main.Version", directory)
    return ToolSpec("hello", Kit("hello", "Hello", "its author", source), ("hello",), version=("-version",))


def main() -> None:
    tiny = spec(Path(sys.argv.pop()))
    sys.argv += ["--yes", "--quiet"]
    with (
        mock.patch("harness.stack.toolspec.tool_table", lambda: {"hello": tiny}),
        mock.patch("harness.stack.tools.tool_table", lambda: {"hello": tiny}),
        mock.patch.object(install_go, "REPORT_SECONDS", 0),
    ):
        install.main()


if __name__ == "__main__":
    main()
