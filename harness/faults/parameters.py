"""Parameters of faults: one model for YAML, the command line and the catalogue."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema

from harness.core.duration import parse_duration
from harness.model.json_schema import duration_schema


def _duration(text: str) -> str:
    parse_duration(text)
    return text


# Kept as it was written: it is shown again, and the proxy takes seconds, the supervisor too, PostgreSQL milliseconds.
DurationText = Annotated[str, AfterValidator(_duration), WithJsonSchema(duration_schema("ns"))]


def main(default: Any = ..., **more: Any) -> Any:
    """A field that the command line takes without its name: `harness fault latency --link X 200ms`."""
    return Field(default, json_schema_extra={"main": True}, **more)


class Parameters(BaseModel):
    """Base. `target`: the name of the field that says what is broken (link, service, table, ...), '' if there is
    nothing to choose. Each field has a `description`, which is its help."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    target: ClassVar[str] = ""

    lasting: DurationText | None = Field(None, description="a duration after which it ends by itself")

    @property
    def on(self) -> str:
        """What is broken."""
        return str(getattr(self, self.target)) if self.target else ""


def is_main(model: type[Parameters], name: str) -> bool:
    """Whether the command line takes a field without its name."""
    extra = model.model_fields[name].json_schema_extra
    return isinstance(extra, dict) and bool(extra.get("main"))
