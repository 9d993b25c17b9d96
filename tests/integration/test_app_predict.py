"""Predictions on the real model server: right ones, the trace through both processes, labels, drift, and its loss."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from app.shared.digits import Digits
from harness.stack.runtime import Stack
from tests.app_support import check_fields, log_fields, small_corpus
from tests.digits_support import built_digits
from tests.integration.helpers import ROOT
from tests.integration.service_process import Service, run_module, store_environment, stores, until
from tests.integration.sinks import Running, running

pytestmark = pytest.mark.stack

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
MODEL = 'model_name="digits",version="digits-mlp-v1"'
SCORED = 'model_id="digits",version="digits-mlp-v1"'
ENTITIES = 797
HEALTH = "/healthz?exclude=milvus,load-corpus"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with stores(tmp_path_factory.mktemp("stores")) as stack:
        done = run_module("app.load_features", store_environment(stack, APP_DIGITS=str(built_digits())))
        assert (done.returncode, done.stderr) == (0, "")
        yield stack


@pytest.fixture(scope="module")
def sink(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running("otlp_sink", tmp_path_factory.mktemp("spans") / "spans.jsonl") as sink:
        yield sink


@pytest.fixture(scope="module")
def model_server(sink: Running, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    env = {"APP_DIGITS": str(built_digits()), "APP_TIME_SCALE": "50", "APP_OTLP": traces(sink)}
    server = Service("model_server", tmp_path_factory.mktemp("model") / "model.jsonl", "/v2/health/ready", env)
    yield server
    server.kill()


@pytest.fixture
def start(stack: Stack, sink: Running, tmp_path: Path) -> Iterator[Callable[[str], Service]]:
    """Starts an app that asks the model server at a URL."""
    started: list[Service] = []

    def start(model_server: str) -> Service:
        env = store_environment(
            stack,
            APP_CORPUS=str(small_corpus()),
            APP_DIGITS=str(built_digits()),
            APP_MILVUS="http://127.0.0.1:1",
            APP_MODEL_SERVER=model_server,
            APP_OTLP=traces(sink),
            APP_TIME_SCALE="50",
        )
        started.append(Service("app", tmp_path / "app.jsonl", HEALTH, env))
        return started[-1]

    yield start
    for app in started:
        app.kill()


@pytest.fixture
def app(start: Callable[[str], Service], model_server: Service) -> Service:
    return start(model_server.url)


def traces(sink: Running) -> str:
    return f"http://{sink.host}:{sink.port}/v1/traces"


def predict(app: Service, entity_id: int) -> dict[str, Any]:
    status, answer = app.post("/predict", {"entity_id": entity_id})
    assert status == 200, answer
    found: dict[str, Any] = answer
    return found


def failure(app: Service, entity_id: int = 1) -> tuple[int, str]:
    status, answer = app.post("/predict", {"entity_id": entity_id})
    return status, answer["error"]


def counts(app: Service) -> tuple[float, float, float]:
    """Requests, errors and latencies."""
    names = ("requests_total", "errors_total", "latency_seconds_count")
    requests, errors, latencies = (app.value(f"model_inference_{name}{{{MODEL}}}") for name in names)
    return requests, errors, latencies


def test_all_entities_are_predicted_as_well_as_the_artefact_says(app: Service) -> None:
    digits = Digits.open(built_digits())
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda entity: predict(app, entity), range(ENTITIES)))
    right = sum(one["prediction"] == label for one, label in zip(found, digits.labels(), strict=True))
    assert right / ENTITIES == pytest.approx(digits.accuracy)
    assert len({one["prediction_id"] for one in found}) == ENTITIES
    assert {(one["model_name"], one["model_version"]) for one in found} == {("digits", "digits-mlp-v1")}
    assert all(0.1 <= one["probability"] <= 1 for one in found)  # the greatest of ten
    assert counts(app) == (ENTITIES, 0, ENTITIES)
    reads = sum(app.value(f'feature_store_reads_total{{source="{source}"}}') for source in ("redis", "postgres"))
    assert reads == ENTITIES
    until(lambda: len(app.lines()) == ENTITIES)
    by_id = {line["prediction_id"]: line for line in app.lines()}
    for one in found:
        line = by_id[one["prediction_id"]]
        check_fields(line, log_fields("model_inference"))
        for field in ("prediction", "probability", "feature_source", "trace_id"):
            assert line[field] == one[field]


def test_a_prediction_is_one_trace_through_both_processes(app: Service, model_server: Service, sink: Running) -> None:
    status, answer = app.post("/predict", {"entity_id": 3}, traceparent=f"00-{TRACE}-{SPAN}-01")
    assert (status, answer["trace_id"]) == (200, TRACE)

    def spans() -> dict[str, dict[str, Any]]:
        return {span["name"]: span for span in sink.lines() if span["trace_id"] == TRACE}

    until(lambda: {"POST /predict", "POST /v2/models/digits/infer"} <= spans().keys())
    found = spans()
    root = found["POST /predict"]
    assert root["parent_span_id"] == SPAN
    assert found["redis.hgetall"]["parent_span_id"] == found["model-server.infer"]["parent_span_id"] == root["span_id"]
    served = found["POST /v2/models/digits/infer"]
    assert served["parent_span_id"] == found["model-server.infer"]["span_id"]
    schema = YAML(typ="safe").load((ROOT / "monitoring/schema/spans.yaml").read_text())["spans"]
    described = {(one["service"], one["name"]): one for one in schema}
    names = {span["span_id"]: span["name"] for span in found.values()}
    for span in found.values():
        expected = described[span["resource"]["service.name"], span["name"]]
        assert set(span["attributes"]) <= set(expected["attributes"]), span["name"]
        required = {name for name, one in expected["attributes"].items() if one["required"]}
        assert required <= set(span["attributes"]), span["name"]
        assert (span["kind"], names.get(span["parent_span_id"]) in expected["parent"]) == (expected["kind"], True)
    until(lambda: app.lines() and any(line["trace_id"] == TRACE for line in model_server.lines()))
    assert app.lines()[-1]["trace_id"] == TRACE


def test_an_entity_that_there_is_not_is_the_callers_mistake(app: Service) -> None:
    assert failure(app, ENTITIES) == (404, "unknown-entity")
    assert counts(app) == (1, 0, 1)


def test_labels_make_scores_once_each(app: Service) -> None:
    labels = Digits.open(built_digits()).labels()
    assert f"model_accuracy{{{SCORED}}}" not in app.get("/actuator/prometheus")[1]
    made = [predict(app, entity) for entity in range(20)]
    for entity, one in enumerate(made):
        status, answer = app.post("/feedback", {"prediction_id": one["prediction_id"], "label": int(labels[entity])})
        assert (status, answer["status"]) == (200, "accepted")
    right = sum(one["prediction"] == labels[entity] for entity, one in enumerate(made))
    assert app.value(f"model_accuracy{{{SCORED}}}") == pytest.approx(right / 20)
    before = [app.value(f"model_{name}{{{SCORED}}}") for name in ("accuracy", "precision", "recall", "f1_score")]
    other = (int(labels[0]) + 1) % 10
    status, answer = app.post("/feedback", {"prediction_id": made[0]["prediction_id"], "label": other})
    assert (status, answer["status"]) == (200, "duplicate")
    assert app.post("/feedback", {"prediction_id": "nobody", "label": 1})[0] == 404
    assert app.post("/feedback", {"prediction_id": made[1]["prediction_id"], "label": 10})[0] == 422
    after = [app.value(f"model_{name}{{{SCORED}}}") for name in ("accuracy", "precision", "recall", "f1_score")]
    assert after == before
    found = {
        outcome: app.value(f'model_feedback_total{{outcome="{outcome}"}}')
        for outcome in ("accepted", "duplicate", "unknown", "invalid")
    }
    assert found == {"accepted": 20, "duplicate": 1, "unknown": 1, "invalid": 1}
    until(lambda: sum(line["component"] == "feedback" for line in app.lines()) == 23)
    lines = [line for line in app.lines() if line["component"] == "feedback"]
    assert [line["outcome"] for line in lines[-4:]] == ["accepted", "duplicate", "unknown", "invalid"]
    for line in lines:
        check_fields(line, log_fields("feedback"))


def test_wrong_predictions_are_a_drift_that_is_counted_for_as_long_as_it_lasts(app: Service) -> None:
    drift = 'model_drift_detected_total{model_id="digits"}'

    def label(entity_id: int) -> None:
        """Says that every prediction was wrong."""
        one = predict(app, entity_id)
        wrong = (one["prediction"] + 1) % 10
        assert app.post("/feedback", {"prediction_id": one["prediction_id"], "label": wrong})[0] == 200

    assert app.value(drift) == 0  # born before it is needed: a first increase can be seen
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(label, range(99)))
        assert app.value(drift) == 0
        list(pool.map(label, range(99, 200)))
    assert app.value(drift) == 2
    assert app.value(f"model_accuracy{{{SCORED}}}") == 0
    until(lambda: sum(line.get("drift_detected", False) for line in app.lines()) == 2)


def test_a_hung_model_server_is_given_up_at_its_deadline(app: Service, model_server: Service) -> None:
    predict(app, 1)
    with model_server.hung():
        assert failure(app) == (503, "model-server-timeout")
        problems = json.loads(app.get(HEALTH)[1])["problems"]
        assert problems == {"model-server": "timeout: no answer within 0.5 s"}
    assert counts(app) == (2, 1, 2)
    predict(app, 1)


def test_a_model_server_that_went_away_is_tried_twice_and_named(
    start: Callable[[str], Service], tmp_path: Path
) -> None:
    env = {"APP_DIGITS": str(built_digits())}
    server = Service("model_server", tmp_path / "model.jsonl", "/v2/health/ready", env)
    try:
        app = start(server.url)
    finally:
        server.kill()
    assert failure(app) == (503, "model-server-unreachable")
    assert app.value('app_dependency_retries_total{dependency="model-server"}') == 1
    assert app.value('app_dependency_errors_total{dependency="model-server"}') == 1


def test_the_end_waits_for_nothing_and_says_nothing(app: Service, model_server: Service) -> None:
    with model_server.hung(), ThreadPoolExecutor() as pool:
        reply = pool.submit(app.post, "/predict", {"entity_id": 1})
        until(lambda: app.value("app_in_flight_requests") == 1)
        code, said = app.stop()
        assert code == 0
        assert "Traceback" not in said
        status, answer = reply.result()
        assert (status, answer["error"]) == (503, "stopping")
    (line,) = app.lines()
    assert (line["status"], line["error"]) == ("error", "stopping")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"APP_MODEL_SERVER": ""}, "config-missing: APP_MODEL_SERVER is not set"),
        ({"APP_REDIS": ""}, "config-missing: APP_REDIS is not set"),
        ({"APP_DIGITS": "/nowhere"}, "digits-missing: no manifest.json in /nowhere; build it with: "),
        ({"APP_LOKI": "127.0.0.1:3100"}, "config-invalid: APP_LOKI='127.0.0.1:3100'"),
    ],
)
def test_a_configuration_that_cannot_be_used_ends_with_2_and_its_name(changes: dict[str, str], said: str) -> None:
    nobody = "127.0.0.1:1"
    env = {
        "APP_LISTEN": nobody,
        "APP_POSTGRES": f"postgresql://postgres@{nobody}/postgres",
        "APP_REDIS": f"redis://{nobody}/0",
        "APP_MILVUS": f"http://{nobody}",
        "APP_MODEL_SERVER": f"http://{nobody}",
        "APP_CORPUS": str(small_corpus()),
        "APP_DIGITS": str(built_digits()),
    }
    done = run_module("app", {**env, **changes})
    assert done.returncode == 2
    assert done.stderr.startswith(said)
