"""The fault catalogue as a Markdown page: a table of all, a section with a picture for each."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from harness.faults.parameters import is_main
from harness.faults.registry import FAULTS

_PLAIN = re.compile(r"^[\w.>-]+$")
PHASES = ("before", "during", "after")
# What counts as slower: so many times as long, and so many milliseconds longer. A p99 of some fifty requests scatters.
NOTICED = {"p50_ms": (1.4, 4.0), "p99_ms": (4.0, 100.0)}

STILL = 1.2  # times what it is afterwards
LONGEST = 90  # characters of labels

HEAD = """\
# What each fault does to the reference system

Made by `make fault-catalogue`, {machine} Each fault was put on the running system once, by itself, while clients sent
{rate:g} requests a second to all its endpoints: first without it, then with it, then after it. Read the numbers as
kinds and sizes of effects and not as promises. A request that has no answer after {timeout:g} s counts as an
error. `during` is from the fault's being seen in force to its being ended, `after` from its being seen undone.

Metrics are those that changed most against their own noise before, whichever they are, of all that Prometheus scrapes.
[faults.md](faults.md) says what the faults are and how they are set. Below stands how each was set by hand; in a
validation the same is an entry of `faults`.
"""


def page(entries: Sequence[Mapping[str, Any]], directory: str, machine: str, timeout: float) -> str:
    """entries: what `harness.gate.catalogue.measure` gives, or fault, parameters and `missing`, why it was not
    measured; directory: of the pictures, as the page names it."""
    measured = [one for one in entries if "missing" not in one]
    rate = measured[0]["rate"] if measured else 0
    parts = [HEAD.format(machine=machine, rate=rate, timeout=timeout)]
    parts += [f"```yaml\nfaults:\n  - {entry(one['fault'], one['parameters'])}\n```" for one in measured[:1]]
    parts += ["| fault | what clients notice |\n|---|---|"]
    for one in measured:
        parts[-1] += f"\n| [{one['fault']}](#{one['fault']}) on {_on(one)} | {noticed(one)} |"
    for one in entries:
        if "missing" in one:
            parts[-1] += f"\n| {one['fault']} | *not measured: {_cell(one['missing'])}* |"
    parts += [section(one, directory) for one in measured]
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"


def noticed(one: Mapping[str, Any]) -> str:
    """One line made from the numbers: which requests fail, which are slower, and whether all was well afterwards."""
    if one["unmet"]:
        return "nothing: no connection or request of theirs met it"
    names = [name for name in one["client"] if name != "all"]
    said = []
    for name in names:
        before, during, after = (one["client"][name][phase] for phase in PHASES)
        failed = _share(during) - _share(before)
        if failed >= 0.01:
            kind = max(during["errors"], key=lambda kind: during["errors"][kind])
            said.append(f"{name}: {failed:.0%} fail ({kind})")
        elif (slower := _slower(before, during, after)) is not None:
            said.append(f"{name}: {slower}")
    text = "; ".join(said) or "nothing"
    left = [name for name in names if _share(one["client"][name]["after"]) >= 0.05]
    return text + (f"; afterwards {', '.join(left)} still fail for a while" if left else "")


def _slower(before: Mapping[str, Any], during: Mapping[str, Any], after: Mapping[str, Any]) -> str | None:
    """What was slow before is nothing that the fault did; nor, for all that is seen, what is as slow after it."""
    for key, (times, least) in NOTICED.items():
        was, became, then = before[key], during[key], after[key]
        if was is None or became is None or became <= times * was or became - was < least:
            continue
        if then is None or became > STILL * then:
            return f"{key[:3]} {_ms(was)} -> {_ms(became)}"
    return None


def _share(part: Mapping[str, Any]) -> float:
    return float(sum(part["errors"].values()) / part["count"]) if part["count"] else 0.0


def section(one: Mapping[str, Any], directory: str) -> str:
    """Of one fault: how it is set, its picture, its clients, metrics and logs."""
    parts = [
        f"## {one['fault']}",
        f"```sh\n{command(one['fault'], one['parameters'])}\n```",
        _provoked(one),
        f"In force: {one['how'].get('begin', '')}. Undone: {one['how'].get('end', '')}.",
    ]
    if one["unmet"]:
        parts.append(f"Nobody met it: {one['unmet']}.")
    parts += [f"![{one['fault']}]({directory}/{one['fault']}.svg)", _client_table(one["client"]), _metrics(one)]
    return "\n\n".join(part for part in (*parts, _logs(one["logs"])) if part)


def _provoked(one: Mapping[str, Any]) -> str:
    """Of a fault that needed another for clients to meet it."""
    second = one.get("provoked_by")
    if second is None:
        return ""
    return (
        f"Clients that keep their connections do not meet it. So `{entry(**second)}` came as soon as it was in force."
    )


def command(fault: str, parameters: Mapping[str, Any]) -> str:
    """How it is set by hand."""
    words = ["harness", "fault", fault]
    for name, value in _ordered(fault, parameters):
        if is_main(FAULTS[fault].takes, name):
            words.append(str(value))
        elif isinstance(value, bool):
            words.append(f"--{'' if value else 'no-'}{name.replace('_', '-')}")
        else:
            words += [f"--{name.replace('_', '-')}", str(value)]
    return f"{shlex.join(words)} --for 30s"


def entry(fault: str, parameters: Mapping[str, Any]) -> str:
    """The same in a validation."""
    shown = (f"{name}: {_scalar(value)}" for name, value in _ordered(fault, parameters))
    return f"{fault}: {{{', '.join(shown)}}}"


def _scalar(value: Any) -> str:
    """As YAML has it."""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return text if _PLAIN.match(text) else repr(value)


def _ordered(fault: str, parameters: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """What is broken first, then as the fault declares them; the files are sorted by name."""
    takes = FAULTS[fault].takes
    return sorted(parameters.items(), key=lambda one: (one[0] != takes.target, list(takes.model_fields).index(one[0])))


def _client_table(client: Mapping[str, Any]) -> str:
    rows = ["| requests | p50 before | during | after | p99 before | during | after | errors before | during | after |"]
    rows.append("|---|" + "--:|" * 9)
    for name, phases in client.items():
        cells = [_ms(phases[phase][key]) for key in ("p50_ms", "p99_ms") for phase in PHASES]
        cells += [_errors(phases[phase]) for phase in PHASES]
        rows.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(rows)


def _errors(part: Mapping[str, Any]) -> str:
    if not part["errors"]:
        return "0"
    kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(part["errors"].items(), key=lambda it: -it[1]))
    return f"{_share(part):.0%} ({kinds})"


def _metrics(one: Mapping[str, Any]) -> str:
    changed = one["metrics"]["changed"]
    if not changed:
        return f"Metrics: {one['metrics']['missing'] or 'none changed beyond its noise'}."
    rows = ["| job | metric | | before | during | after |", "|---|---|---|--:|--:|--:|"]
    for each in changed:
        labels = ",".join(f'{name}="{value}"' for name, value in sorted(each["labels"].items()) if name != "server")
        labels = labels if len(labels) <= LONGEST else f"{labels[:LONGEST]}..."
        name = f"`{each['name']}{'{' + labels + '}' if labels else ''}`"
        how = {"value": "", "rate": "per second", "mean": "mean", "count": ""}[each["how"]]
        rows.append(f"| {each['job']} | {_cell(name)} | {how} | {' | '.join(_number(each[p]) for p in PHASES)} |")
    return "\n".join(rows)


def _logs(logs: Mapping[str, Any]) -> str:
    rows = [
        "| log | errors before | during | after | warnings before | during | after | others before | during | after |"
    ]
    rows.append("|---|" + "--:|" * 9)
    for name, phases in logs["services"].items():
        counts = [[_level(phases[phase], level) for phase in PHASES] for level in ("error", "warning", "")]
        if any(counts[0] + counts[1]) or max(counts[2]) > 2 * min(counts[2]) + 10:
            rows.append(f"| {name} | {' | '.join(str(count) for part in counts for count in part)} |")
    table = "\n".join(rows) if len(rows) > 2 else "No log has more lines, nor any with a warning or an error."
    new = [_new(one) for one in logs["new"][:5]]
    return table + ("\n\nNew messages:\n\n" + "\n".join(new) if new else "")


def _new(one: Mapping[str, Any]) -> str:
    lines = f"{one['lines']} line{'s' * (one['lines'] > 1)}"
    return f"- {one['service']}, {lines} of level {one['level']}: `{_code(one['message'])}`"


def _level(counts: Mapping[str, int], level: str) -> int:
    if level:
        return counts.get(level, 0)
    return sum(count for name, count in counts.items() if name not in ("error", "warning"))


def _on(one: Mapping[str, Any]) -> str:
    return ", ".join(each.partition(" ")[2] or each for each in one["touches"])


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} ms" if value < 100 else f"{value:,.0f} ms"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}" if abs(value) < 1e5 else f"{value:,.0f}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _code(text: str) -> str:
    return text.replace("`", "'")
