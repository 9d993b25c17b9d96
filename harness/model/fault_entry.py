"""Faults as a validation asks for them: a name, what it is given, when. What names there are is known further up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from harness.core.duration import parse_duration
from harness.model.json_schema import duration_schema
from harness.model.source import Path_


def parsed_duration(value: Any) -> int:
    """A text of a file in nanoseconds. Raises ValueError."""
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not a duration; write for example 200ms, 45s or 1m30s")
    return parse_duration(value)


Duration = Annotated[int, BeforeValidator(parsed_duration), WithJsonSchema(duration_schema("ns"))]


@dataclass(frozen=True, slots=True)
class FaultRequest:
    """values: as they are written; at_ns: after the begin of the steady phase; for_ns: None up to its end; place: of
    the entry in its document."""

    name: str
    values: Any
    at_ns: int
    for_ns: int | None
    place: Path_


class FaultEntry(BaseModel):
    """One entry of `faults`: the fault's name with its parameters, and beside it `at` and `for`."""

    model_config = ConfigDict(extra="allow", frozen=True)

    at: Duration = Field(0, description="How long after the begin of the steady phase it begins.")
    for_: Annotated[Duration, Field(gt=0)] | None = Field(
        None, alias="for", description="How long it lasts; by default to the end of the steady phase."
    )

    @model_validator(mode="after")
    def _one(self) -> FaultEntry:
        names = list(self.named)
        if len(names) != 1:
            found = f"there are {', '.join(names)}" if names else "there is none"
            raise ValueError(f"an entry names exactly one fault, as in `- latency: {{...}}`; {found}")
        return self

    @property
    def named(self) -> Mapping[str, Any]:
        """Everything beside `at` and `for`."""
        return self.__pydantic_extra__ or {}

    def request(self, place: Path_) -> FaultRequest:
        ((name, values),) = self.named.items()
        return FaultRequest(name, values, self.at, self.for_, place)
