"""What the faults on links share: the control connection they live by, the probes, and the evidence."""

from __future__ import annotations

import difflib
import os
import uuid
from abc import abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from harness.core.errors import HarnessError, UsageError
from harness.faults.fault import Fault
from harness.faults.parameters import Parameters
from harness.faults.probe import PATIENCE, Probe, exchange
from harness.faults.toxiproxy import VARIABLE, Toxic, Toxics, server_named
from harness.faults.units import seconds_of
from harness.faults.waiting import wait_for
from harness.model.events import Event
from harness.model.stackfile import StackFile
from harness.stack.availability import Unavailable
from harness.stack.handle import Stack
from harness.stack.links import LinkControl, Links
from harness.stack.proxy.mechanisms import MECHANISMS


class LinkParameters(Parameters):
    """What all faults on links take."""

    target = "link"

    link: str = Field(description="the link, as stack.yaml names it")
    seed: int = Field(0, description="of what is random in it")
    expect_traffic: bool = Field(True, description="whether it is an error that nothing met it")


class DirectedParameters(LinkParameters):
    """And those that can be put on one direction alone."""

    direction: Literal["up", "down", "both"] = Field("both", description="up: to the server; down: to the client")


class LinkFault(Fault):
    """Base of faults on a link. It ends with this process at the latest, by whatever that is ended.

    links: Stack.links; link: the name; direction: up (to the server), down (to the client) or both; lasting: a duration
    after which it ends by itself; seed: of what is random in it; expect_traffic: whether it is an error that nothing
    but our own probes met it.
    Raises UsageError fault-parameter and link-unknown, at the latest from `begin`.
    """

    kind = "link"
    directed: ClassVar[bool] = True  # whether a direction can be chosen
    evidence: ClassVar[tuple[str, ...]]  # counters, any of which shows that something met it

    def __init__(
        self,
        links: Links,
        link: str,
        *,
        direction: str = "both",
        lasting: str | None = None,
        seed: int = 0,
        expect_traffic: bool = True,
        emit: Callable[[Event], None] | None = None,
    ) -> None:
        super().__init__(emit)
        if link not in links.near:
            near = difflib.get_close_matches(link, links.near, 1, 0.5)
            meant = f"; is {near[0]!r} meant?" if near else f"; known are {', '.join(links.near)}"
            raise UsageError("link-unknown", f"no link {link!r} in the stack{meant}", "See `links` in stack.yaml.")
        if direction not in ("up", "down", "both"):
            raise UsageError("fault-parameter", f"direction is {direction!r}", "Write up, down or both.")
        self.link = link
        self.direction = direction
        self.ways = 2 if direction == "both" else 1
        self._links = links
        self._lasting = None if lasting is None else seconds_of("lasting", lasting)
        self._seed = seed
        self._expect_traffic = expect_traffic
        self._control: LinkControl | None = None
        self._id = ""
        self._toxics: Toxics | None = None  # where the environment names a toxiproxy

    @classmethod
    def on(cls, stack: Stack, parameters: Parameters, emit: Callable[[Event], None] | None = None) -> LinkFault:
        return cls(stack.links, emit=emit, **parameters.model_dump())

    @classmethod
    def targets(cls, file: StackFile) -> tuple[str, ...]:
        return tuple(file.spec.links)

    @classmethod
    def lacking(cls, file: StackFile, target: str, missing: Mapping[str, Unavailable]) -> str:
        server = server_named()
        if server is not None and cls.toxic is LinkFault.toxic:
            return f"toxiproxy at {server}, which {VARIABLE} names, cannot do this"
        return super().lacking(file, target, missing)

    @classmethod
    def check(cls, parameters: Parameters) -> None:
        cls(Links(Path(), {parameters.on: 0}), **parameters.model_dump())._check_settings()

    @classmethod
    def service_of(cls, file: StackFile, target: str) -> str:
        return file.spec.links[target].to.partition(".")[0]

    def _check_settings(self) -> None:
        """As the proxy will."""
        try:
            MECHANISMS[self.name](self.settings())
        except ValueError as error:
            raise UsageError("fault-parameter", str(error), f"See `harness fault {self.name} --help`.") from None

    @property
    def touches(self) -> frozenset[str]:
        return frozenset({f"link {self.link}"})

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """The parameters as the proxy takes them: seconds, bytes, shares."""

    def parameters(self) -> dict[str, Any]:
        told = self.settings() | ({"direction": self.direction} if self.directed else {})
        return told if self._lasting is None else told | {"lasting": self._lasting}

    def toxic(self) -> Toxic | None:
        """What a toxiproxy is told for it; None: that cannot do it. Raises UsageError fault-parameter for a value that
        it cannot have."""
        return None

    def _prepare(self, probe: Probe) -> None:
        """Called before it is set."""

    @abstractmethod
    def _confirm(self, probe: Probe) -> str:
        """See by a probe that it is in force; returns how it was seen. Raises OSError, or what `_without` gives."""

    def _probe(self, control: LinkControl) -> Probe:
        return Probe(control, self.link, self._links.near[self.link], self._id)

    def _apply(self) -> str:
        if (server := server_named()) is not None:
            self._check_settings()
            streams = {"up": ("upstream",), "down": ("downstream",), "both": ("upstream", "downstream")}
            self._toxics = Toxics(server, self.link, f"{self.name} on {self.link}")
            return self._toxics.apply(self.toxic(), streams[self.direction], self._lasting)
        self._id = uuid.uuid4().hex
        control = self._control = self._links.connect()
        probe = self._probe(control)
        try:
            self._prepare(probe)
            control.ask(
                "set",
                id=self._id,
                link=self.link,
                fault=self.name,
                direction=self.direction,
                parameters=self.settings(),
                seed=self._seed,
                **({} if self._lasting is None else {"for": self._lasting}),
            )
            return self._confirm(probe)
        except OSError as error:
            raise self._without(f"the probe failed: {error}") from error

    def _abandon(self) -> None:
        if self._toxics is not None:
            self._toxics.abandon()
            self._toxics = None
        if self._control is not None:
            self._control.close()
            self._control = None

    def _without(self, seen: str) -> HarnessError:
        return HarnessError(
            "fault-without-effect",
            f"{self.name} on {self.link} was set and is not in force: {seen}",
            "Nothing that was measured under it counts. See docs/faults.md for how it is confirmed.",
        )

    def _counters(self) -> dict[str, int]:
        if self._toxics is not None:
            return {}  # it counts nothing while a connection is open
        assert self._control is not None
        found: dict[str, int] = self._control.ask("counters", id=self._id)["counters"]
        return found

    def _undo(self) -> str:
        if self._toxics is not None:
            try:
                return self._toxics.undo()
            finally:
                self._abandon()
        assert self._control is not None
        control = self._control
        try:
            told = control.ask("end", id=self._id)
            self._last = told["counters"]
            if any(one["id"] == self._id for one in control.ask("faults")["faults"]):
                raise self._not_undone("the proxy still lists it")
            probe = self._probe(control)
            if not wait_for(lambda: self._is_clear(probe), PATIENCE):
                raise self._not_undone("an echo through the link does not come back as it should")
        finally:
            self._abandon()
        by_itself = "it had ended by itself, and " if told["ended_by"] == "time" else ""
        return f"{by_itself}an echo through the link came back unchanged"

    def _is_clear(self, probe: Probe) -> bool:
        """Whether an echo through the link is as it is without the fault."""
        data = os.urandom(1024)
        try:
            with probe.connect() as client:
                return exchange(client, data) == data
        except OSError:
            return False

    def _not_undone(self, seen: str) -> HarnessError:
        return HarnessError(
            "fault-not-undone",
            f"{self.name} on {self.link}: {seen}",
            "Do not believe what is measured on this stack from now on; bring it up anew.",
        )

    def _check_met(self, counters: Mapping[str, int]) -> None:
        if self._expect_traffic and counters and not any(counters[name] for name in self.evidence):
            raise HarnessError(
                "fault-without-effect",
                f"{self.name} on {self.link} was in force, and nothing met it: {counters['connections']} connections "
                f"and {counters['bytes']} bytes came by, {', '.join(self.evidence)}: 0",
                "See that the load uses this link meanwhile; or say expect_traffic=False where none is due.",
            )
