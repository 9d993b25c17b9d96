"""The exporter that speaks for PostgreSQL, as the role that may read statistics and nothing else."""

from __future__ import annotations

from harness.stack.docker.services.declared import Declared, Rendered, Told
from harness.stack.services.postgres_exporter import FLAGS, data_source

_PLACE = "/etc/postgres-exporter"
_QUERIES = "queries.yml"


def _render(told: Told) -> Rendered:
    env = {"DATA_SOURCE_NAME": data_source(told.peers["postgres"])}
    if told.config is None:
        return Rendered(FLAGS, env)
    (told.directory / _QUERIES).write_bytes(told.config.read_bytes())
    return Rendered((*FLAGS, f"--extend.query-path={_PLACE}/{_QUERIES}"), env, {told.directory: _PLACE})


DECLARED = Declared({"http": 9187}, _render)
