"""What scenarios are told of the stack."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.gate.environment import scenario_environment
from harness.model.stackfile import load_stackfile
from harness.stack.handle import Stack
from harness.stack.layout import Layout

ROOT = Path(__file__).resolve().parents[2]


def test_each_artefact_and_each_port_is_named(tmp_path: Path) -> None:
    (file, *_) = load_stackfile(ROOT / "stack.yaml")
    numbers = iter(range(1000, 2000))
    ports = {name: {port: next(numbers) for port in one.port_names} for name, one in file.spec.services.items()}
    info: dict[str, Any] = {"id": "x", "name": "x", "isolation": "pidns", "app": "process"}
    artefacts = {name: tmp_path / name for name in file.spec.artefacts}
    control: Any = None
    layout = Layout(file, tmp_path, tmp_path, ports, {}, artefacts)
    found = scenario_environment(Stack(layout, control, info, launched=None, reused=False))
    assert found["SLO_ARTEFACT_CORPUS"] == str(tmp_path / "corpus")
    assert found["SLO_ADDRESS_POSTGRES_SQL"] == f"127.0.0.1:{ports['postgres']['sql']}"
    assert found["SLO_ADDRESS_MODEL_SERVER_HTTP"] == f"127.0.0.1:{ports['model-server']['http']}"
    assert {"SLO_ADDRESS_REDIS_RESP", "SLO_ADDRESS_MILVUS_GRPC"} < found.keys()


def test_a_scenario_without_its_address_is_told_which(monkeypatch: pytest.MonkeyPatch) -> None:
    from harness.load.place import address, artefact

    monkeypatch.setenv("SLO_ADDRESS_MODEL_SERVER_HTTP", "127.0.0.1:9")
    assert address("model-server", "http") == "127.0.0.1:9"
    monkeypatch.delenv("SLO_ADDRESS_MODEL_SERVER_HTTP")
    with pytest.raises(LookupError, match="SLO_ADDRESS_MODEL_SERVER_HTTP is not set"):
        address("model-server", "http")
    with pytest.raises(LookupError, match="SLO_ARTEFACT_NONE is not set"):
        artefact("none")
