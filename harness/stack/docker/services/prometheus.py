"""Prometheus, from the same configuration as the local one's; the rule files that it names are copied."""

from __future__ import annotations

from typing import Any

from harness.stack.docker.images import pinned
from harness.stack.docker.services.declared import Declared, Rendered, Told
from harness.stack.scrape_jobs import CONFIG
from harness.stack.services.prometheus import FLAGS, configured, matching
from harness.stack.services.prometheus_settings import check_settings
from harness.stack.services.rendering import dump_yaml

_PLACE = "/etc/prometheus"


def _render(told: Told) -> Rendered:
    alertmanager = told.peers.get("alertmanager")
    config = configured(told.config, told.scrape, alertmanager, told.scale, told.stack_id)
    check_settings(told.config, lambda: pinned("prometheus").rpartition(":")[2])
    dump_yaml(told.directory / CONFIG, config | _with_rules(told, config))
    command = (
        f"--config.file={_PLACE}/{CONFIG}",
        f"--storage.tsdb.path={told.store('/prometheus')}",
        *FLAGS,
    )
    return Rendered(command, mounts={told.directory: _PLACE})


def _with_rules(told: Told, config: dict[str, Any]) -> dict[str, Any]:
    """rule_files, where they are inside; copies, each under a name of its own."""
    if not config.get("rule_files"):
        return {}
    rules = told.directory / "rules"
    rules.mkdir()
    found = dict.fromkeys(path for pattern in config["rule_files"] for path in matching(pattern))
    copies = {f"{at:03}-{path.name}": path for at, path in enumerate(found)}
    for name, path in copies.items():
        (rules / name).write_bytes(path.read_bytes())
    return {"rule_files": [f"{_PLACE}/rules/{name}" for name in copies]}


DECLARED = Declared({"http": 9090}, _render, to_host=True)
