"""`harness stack install`: fetch the programs that are missing into the user's cache. Neither root nor the system."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from harness.core.errors import HarnessError
from harness.core.outcome import Outcome
from harness.stack.install_errors import install_failed
from harness.stack.install_go import build_dir, remove_build
from harness.stack.install_jobs import Job, Say, plan_jobs, question
from harness.stack.install_place import alone
from harness.stack.tools import INSTALL_COMMAND, find_in_cache, resolve_tool, tool_version, tools_dir
from harness.stack.toolspec import Kit, ToolSpec, tool_table

Confirm = Callable[[str], bool]


def install(
    specs: Iterable[ToolSpec], *, confirm: Confirm, progress: Say, status: Path | None = None
) -> list[HarnessError]:
    """Fetch the kits of `specs` that are not in the cache yet; what PATH holds does not matter here.

    What is quick comes first, what must be compiled last. A kit that cannot be had does not stop the others: returns
    one error for each of them, none when all is there.
    confirm: asked once, with what would be fetched and its size; progress: gets one line a step;
    status: a dpkg status file to resolve against instead of the machine's own.
    Raises HarnessError `install-declined` when the answer is no, `install-failed` when the cache cannot be used.
    """
    wanted = list(specs)
    try:
        with alone(progress):
            kits = list({spec.kit.name: spec.kit for spec in wanted if find_in_cache(spec) is None}.values())
            if not kits:
                progress("nothing to fetch: all of it is there")
                return []
            started = time.monotonic()
            failures = _install(kits, confirm, progress, status)
            progress(f"done in {time.monotonic() - started:.1f} s" + (f", {len(failures)} failed" if failures else ""))
            return failures
    except OSError as error:
        raise install_failed(f"cannot write below {tools_dir()}: {error}") from error


def table(specs: Iterable[ToolSpec] | None = None) -> list[tuple[str, str, str, str]]:
    """One row a program of `specs` (default: the whole table): its name, the number in the version that it prints, its
    source, its path.

    Of one that cannot be used: its name, `-`, `missing` or the slug of the error, the remedy.
    """
    rows: list[tuple[str, str, str, str]] = []
    for name in [spec.name for spec in specs] if specs is not None else tool_table():
        try:
            tool = resolve_tool(name)
            printed = tool_version(tool)
            number = re.search(r"\d+(\.\d+)+[^\s,)]*", printed)
            path = re.sub(f"^{re.escape(str(Path.home()))}(?=/)", "~", str(tool.path))
            rows.append((name, number[0] if number else printed, tool.source, path))
        except HarnessError as error:
            rows.append((name, "-", "missing" if error.slug == "missing-binary" else error.slug, error.remedy))
    return rows


def _install(kits: list[Kit], confirm: Confirm, progress: Say, status: Path | None) -> list[HarnessError]:
    jobs, failures = plan_jobs(kits, progress, status)
    if jobs and not confirm(question(jobs)):
        raise HarnessError(
            "install-declined",
            "nothing was fetched",
            f"run `{INSTALL_COMMAND}` when it may be",
            outcome=Outcome.NOT_VALIDATED,
        )
    failed = {job.kit.name: error for job in jobs if (error := _attempt(job, progress))}
    compiled = [job.kit.name for job in jobs if job.compiles]
    if compiled and failed.keys().isdisjoint(compiled):
        progress(f"removing what was only needed to compile ({build_dir()})")
        remove_build()
    return [*failures, *failed.values()]


def _attempt(job: Job, progress: Say) -> HarnessError | None:
    try:
        job.fetch()
        return None
    except HarnessError as caught:
        error = caught
    except OSError as caught:
        error = install_failed(f"cannot write {job.kit.title} below {tools_dir()}: {caught}", kit=job.kit)
    progress(f"{job.kit.title} could not be had ({error.slug})")
    return error
