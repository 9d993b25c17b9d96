"""Alertmanager, from the same configuration as the local one's; it shows the webhook sink the stack's token."""

from __future__ import annotations

from harness.stack.docker.services.declared import Declared, Rendered, Told
from harness.stack.services.alertmanager import FLAGS, configured
from harness.stack.services.rendering import dump_yaml

_PLACE = "/etc/alertmanager"
_CONFIG = "alertmanager.yml"


def _render(told: Told) -> Rendered:
    sink = told.peers.get("webhook-sink")
    dump_yaml(told.directory / _CONFIG, configured(told.config, sink, told.scale, told.token))
    command = (f"--config.file={_PLACE}/{_CONFIG}", f"--storage.path={told.store('/alertmanager')}", *FLAGS)
    return Rendered(command, mounts={told.directory: _PLACE})


DECLARED = Declared({"http": 9093}, _render, to_host=True)
