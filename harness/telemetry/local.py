"""HTTP to the stack itself, which no proxy of the environment must come between."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import requests


def local_get(url: str, *, timeout: float, params: Mapping[str, str] | None = None) -> requests.Response:
    """GET `url`; proxies of the environment are not used. Raises requests.RequestException."""
    with requests.Session() as session:
        session.trust_env = False
        return session.get(url, params=params, timeout=timeout)


def local_post(url: str, *, timeout: float, json: Mapping[str, Any]) -> requests.Response:
    """POST `json` to `url`; proxies of the environment are not used. Raises requests.RequestException."""
    with requests.Session() as session:
        session.trust_env = False
        return session.post(url, json=json, timeout=timeout)
