"""HTTP to the stack itself, which no proxy of the environment must come between."""

from __future__ import annotations

from collections.abc import Mapping

import requests


def local_get(url: str, *, timeout: float, params: Mapping[str, str] | None = None) -> requests.Response:
    """GET `url`; proxies of the environment are not used. Raises requests.RequestException."""
    with requests.Session() as session:
        session.trust_env = False
        return session.get(url, params=params, timeout=timeout)
