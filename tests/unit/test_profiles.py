"""The repository's own validations, profile by profile: what a longer run promises is no weaker."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.core.errors import UsageError
from harness.gate.plan import plan

ROOT = Path(__file__).resolve().parents[2]


def test_the_long_profiles_promise_three_nines_where_the_short_one_cannot_decide_them() -> None:
    targets = {
        profile: {o.id: o.target for o in plan(ROOT / "slos/vector_search.yaml", profile)[0].objectives}
        for profile in ("pr", "nightly", "release")
    }
    name = "objectives/vector-search-availability/availability"
    assert [targets[profile][name] for profile in targets] == [0.99, 0.999, 0.999]


@pytest.mark.parametrize(
    ("target", "slug", "said"),
    [
        ("{vector-search-avalability/availability: 0.999}", "unknown-reference", "vector-search-availability"),
        ("{vector-search-availability/availability: 99.9}", "bad-value", "0.999"),
    ],
)
def test_a_target_that_is_wrong_is_refused_where_it_stands(tmp_path: Path, target: str, slug: str, said: str) -> None:
    for name in ("stack.yaml", "monitoring", "scenarios"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "slos").mkdir()
    for name in ("vector_search.yaml", "vector_search.openslo.yaml"):
        text = (ROOT / "slos" / name).read_text()
        (tmp_path / "slos" / name).write_text(text.replace("{vector-search-availability/availability: 0.999}", target))
    with pytest.raises(UsageError) as caught:
        plan(tmp_path / "slos/vector_search.yaml", "nightly")
    assert caught.value.slug == slug and said in caught.value.remedy
    assert caught.value.location is not None and "availability" in caught.value.location.text
