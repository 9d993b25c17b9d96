"""Loki, from the same configuration as the local one's; the part that faults change is read anew from the mount."""

from __future__ import annotations

from pathlib import PurePosixPath

from harness.stack.docker.services.declared import Declared, Rendered, Told
from harness.stack.services.loki import CALM, RUNTIME, configured
from harness.stack.services.rendering import dump_yaml

_PLACE = PurePosixPath("/etc/loki")
_CONFIG = "loki.yaml"
_HTTP, _GRPC = 3100, 9095


def _render(told: Told) -> Rendered:
    store = PurePosixPath(told.store("/loki"))
    dump_yaml(told.directory / _CONFIG, configured(told.config, _PLACE, _HTTP, _GRPC, store, listen="0.0.0.0"))
    (told.directory / RUNTIME).write_text(CALM)
    return Rendered((f"-config.file={_PLACE / _CONFIG}",), mounts={told.directory: str(_PLACE)})


DECLARED = Declared({"http": _HTTP}, _render)
