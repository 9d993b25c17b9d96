"""The environment of the app: defaults, and errors that name the variable."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.config import DEFAULT_EFFORT, INDEX_LISTS, AppConfig
from app.shared.environment import Address, ConfigError, Telemetry

GOOD = {
    "APP_LISTEN": "127.0.0.1:8080",
    "APP_POSTGRES": "postgresql://postgres@127.0.0.1:5432/postgres",
    "APP_REDIS": "redis://127.0.0.1:6379/0",
    "APP_MILVUS": "http://127.0.0.1:19530",
    "APP_MODEL_SERVER": "http://127.0.0.1:8000/",
    "APP_CORPUS": "corpus",
    "APP_DIGITS": "digits",
}


def test_defaults() -> None:
    config = AppConfig.from_environment(GOOD)
    assert config.listen == Address("127.0.0.1", 8080)
    assert config.stores.milvus == "127.0.0.1:19530"
    assert config.stores.corpus == Path("corpus")
    assert (config.redis, config.model_server) == ("redis://127.0.0.1:6379/0", "http://127.0.0.1:8000")
    assert (config.digits, config.effort) == (Path("digits"), DEFAULT_EFFORT)
    assert config.telemetry == Telemetry(otlp=None, loki=None, log_file=None, time_scale=1.0)


def test_everything_given() -> None:
    given = {
        **GOOD,
        "APP_LISTEN": "[::1]:0",
        "APP_MILVUS": "localhost:19530",
        "APP_OTLP": "http://127.0.0.1:4318/v1/traces",
        "APP_LOKI": "http://127.0.0.1:3100/",
        "APP_LOG_FILE": "app.jsonl",
        "APP_TIME_SCALE": "15",
        "APP_SEARCH_EFFORT": "1",
    }
    config = AppConfig.from_environment(given)
    assert (config.listen, config.stores.milvus) == (Address("::1", 0), "localhost:19530")
    assert config.effort == 1
    assert config.telemetry == Telemetry(
        otlp="http://127.0.0.1:4318/v1/traces",
        loki="http://127.0.0.1:3100",
        log_file=Path("app.jsonl"),
        time_scale=15.0,
    )


@pytest.mark.parametrize("name", GOOD)
def test_a_missing_variable_is_named(name: str) -> None:
    with pytest.raises(ConfigError, match=f"config-missing: {name} is not set"):
        AppConfig.from_environment({**GOOD, name: " "})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("APP_LISTEN", "8080"),
        ("APP_LISTEN", "host:99999"),
        ("APP_POSTGRES", "localhost"),
        ("APP_MILVUS", "127.0.0.1"),
        ("APP_MILVUS", "http://127.0.0.1:port"),
        ("APP_REDIS", "http://127.0.0.1"),
        ("APP_MODEL_SERVER", "127.0.0.1:8000"),
        ("APP_MODEL_SERVER", "http://127.0.0.1:8000/v2"),
        ("APP_OTLP", "127.0.0.1:4318"),
        ("APP_LOKI", "127.0.0.1:3100"),
        ("APP_LOKI", "http://127.0.0.1:3100/loki/api/v1/push"),
        ("APP_TIME_SCALE", "0"),
        ("APP_TIME_SCALE", "nan"),
        ("APP_TIME_SCALE", "fast"),
        ("APP_SEARCH_EFFORT", "0"),
        ("APP_SEARCH_EFFORT", str(INDEX_LISTS + 1)),
        ("APP_SEARCH_EFFORT", "1.5"),
    ],
)
def test_a_bad_value_is_named_with_its_variable(name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=f"config-invalid: {name}='{value}'"):
        AppConfig.from_environment({**GOOD, name: value})
