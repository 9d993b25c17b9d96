"""stack.yaml: what is refused, where the caret stands, and what the reference stack says."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.core.errors import UsageError
from harness.model.builtins import BUILTINS
from harness.model.stackfile import load_stackfile
from harness.stack.services import RECIPES

ROOT = Path(__file__).parent.parent.parent
HEAD = "apiVersion: harness/v1\nkind: Stack\nmetadata: {name: tiny}\nspec:\n"
GOOD = (
    HEAD
    + """\
  services:
    redis: {use: redis}
    fill:
      job: ["true"]
      needs: [redis]
    web:
      command: [python, -m, http.server, "${port:web.http}"]
      ports: [http]
      needs: [fill]
      env: &env
        REDIS: ${link:web->redis}
        DIR: ${dir}
    more:
      command: [sleep, "9"]
      env: {<<: *env, WHERE: "${artefact:data}"}
  links:
    web->redis: {to: redis.resp}
  scrape: {}
  artefacts:
    data: {command: [make, "${dir}"], inputs: []}
  target: web.http
"""
)


def test_the_reference_stack_is_sound() -> None:
    file, _ = load_stackfile(ROOT / "stack.yaml")
    assert file.spec.target == "app.http"
    assert file.spec.services["load-corpus"].timeout == 120.0
    assert file.spec.services["app"].env["APP_MILVUS"] == file.spec.services["load-corpus"].env["APP_MILVUS"]
    assert file.spec.services["app"].kind == "command"


def test_the_small_stack_is_sound(tmp_path: Path) -> None:
    path = tmp_path / "stack.yaml"
    path.write_text(GOOD)
    assert list(load_stackfile(path)[0].spec.services) == ["redis", "fill", "web", "more"]


def test_every_built_in_service_has_the_ports_that_a_file_may_name() -> None:
    assert BUILTINS.keys() == RECIPES.keys()
    for name, builtin in BUILTINS.items():
        assert RECIPES[name].ports[: len(builtin.ports)] == builtin.ports
        assert (RECIPES[name].metrics is not None) == builtin.metrics


@pytest.mark.parametrize(
    ("old", "new", "slug", "line", "words"),
    [
        ("needs: [redis]", "needs: [radis]", "stack-reference", 9, "Did you mean 'redis'?"),
        ("needs: [redis]", "needs: [web]", "stack-reference", 9, "fill -> web -> fill"),
        ("to: redis.resp", "to: redis.http", "stack-reference", 20, "unknown port 'redis.http'"),
        ("target: web.http", "target: web", "stack-reference", 24, "Did you mean 'web.http'?"),
        ("${link:web->redis}", "${link:web->postgres}", "stack-reference", 15, "Did you mean 'web->redis'?"),
        ("${dir}\n", "${dri}\n", "stack-reference", 16, "Did you mean 'dir'?"),
        ("${dir}\n", "${dir:web}\n", "stack-reference", 16, "dir takes no name"),
        ("${artefact:data}", "${artefact:date}", "stack-reference", 19, "Did you mean 'data'?"),
        ('make, "${dir}"', 'make, "${scale}"', "stack-reference", 24, "unknown placeholder 'scale'"),
        ("scrape: {}", "image: {services: [wob]}", "stack-reference", 22, "Did you mean 'web'?"),
        ("scrape: {}", "image: {services: [redis]}", "stack-reference", 22, "has an image of its own"),
        ("scrape: {}", "image: {services: [more]}", "stack-reference", 22, "is sleep, and not python"),
        ("scrape: {}", "scrape: {job: web.metrics}", "stack-reference", 22, "Did you mean 'web.http'?"),
        ("scrape: {}", "counters: {r: {service: web, series: x}}", "stack-reference", 22, "declares no metrics"),
        ("redis: {use: redis}", "links: {use: redis}", "stack-reference", 6, "name of the runtime's own"),
        ("redis: {use: redis}", "Redis: {use: redis}", "bad-value", 6, "is not a name"),
        ("needs: [redis]", "need: [redis]", "unknown-field", 9, "Did you mean 'needs'?"),
        ("{use: redis}", "{use: redis, command: [x]}", "bad-value", 6, "exactly one of use, command and job"),
        ("{use: redis}", "{use: radish}", "bad-value", 6, "'redis'"),
        ("{use: redis}", "{use: redis, ports: {http: 80}}", "bad-value", 6, "redis has no port 'http'"),
        ("{use: redis}", "{use: redis, ports: [resp]}", "bad-value", 6, "to fix one write {resp: N}"),
        ("{use: redis}", "{use: redis, config: x}", "bad-value", 6, "has a config"),
        ("{use: redis}", "{use: redis, timeout: 5}", "bad-value", 6, "for example 30s"),
        ("needs: [redis]", "ports: [http]", "bad-value", 8, "a job ends"),
        ("needs: [redis]", "disk: 8MB", "bad-value", 8, "a job ends; it has no `disk`"),
        ("{use: redis}", "{use: redis, disk: 8}", "bad-value", 6, "for example 64kB"),
        ("{use: redis}", "{use: redis, disk: 8 MB}", "bad-value", 6, "is not a size"),
        ("{use: redis}", "{use: redis, disk: 8kB}", "bad-value", 6, "greater than or equal to"),
        ("ports: [http]", "ports: [http]\n      metrics: {port: web}", "bad-value", 12, "not among its ports"),
        ("ports: [http]", "ports: [http]\n      ready: {}", "bad-value", 12, "either http or tcp"),
        ("  target: web.http\n", "", "missing-field", 4, "target"),
        ("needs: [redis]", "after: [radis]", "stack-reference", 9, "Did you mean 'redis'?"),
        ("needs: [redis]", "after: [web]", "stack-reference", 9, "fill -> web -> fill"),
        (
            "redis: {use: redis}",
            "redis: {use: redis, after: [e]}\n    e: {use: redis-exporter}",
            "stack-reference",
            7,
            "go in a circle",
        ),
        (
            "redis: {use: redis}",
            "redis: {use: redis}\n    r: {use: redis}\n    e: {use: redis-exporter}",
            "stack-reference",
            8,
            "cannot choose between redis and r",
        ),
        ("redis: {use: redis}", "redis: {use: redis-exporter}", "stack-reference", 6, "no service with `use: redis`"),
        ("redis: {use: redis}", "redis: {use: redis-exprter}", "bad-value", 6, "did you mean 'redis-exporter'?"),
    ],
)
def test_what_leads_nowhere_is_refused_where_it_stands(
    tmp_path: Path, old: str, new: str, slug: str, line: int, words: str
) -> None:
    assert GOOD.count(old) == 1
    path = tmp_path / "stack.yaml"
    path.write_text(GOOD.replace(old, new))
    with pytest.raises(UsageError) as refused:
        load_stackfile(path)
    assert refused.value.slug == slug
    assert words in refused.value.render()
    assert "^" in refused.value.render()
    assert refused.value.location is not None
    assert abs(refused.value.location.line - line) <= 1, refused.value.render()
