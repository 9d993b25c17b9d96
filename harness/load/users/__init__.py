"""The Locust users that scenarios derive from. They work under the harness and under plain `locust -f`.

SloUser speaks HTTP; those of other protocols stand in modules of their own, so that a scenario loads what it uses.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from locust import User

from harness.load.place import address, artefact
from harness.load.users.http import SloUser
from harness.load.users.recording import RecordingUser, runtime

__all__ = ["RecordingUser", "SloUser", "address", "artefact", "runtime", "user_classes"]


def user_classes(namespace: Mapping[str, Any]) -> list[type[Any]]:
    """The concrete Locust users in a module, recording ones or not, by name."""
    found: set[Any] = {one for one in namespace.values() if isinstance(one, type) and issubclass(one, User)}
    return sorted((one for one in found if not one.abstract), key=lambda one: one.__name__)
