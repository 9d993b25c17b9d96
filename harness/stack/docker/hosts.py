"""Where the Docker engine is: as Docker's own command line finds it. Standard library only: followers import it."""

from __future__ import annotations

import hashlib
import json
import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.core.errors import HarnessError
from harness.core.outcome import Outcome

DEFAULT = "unix:///var/run/docker.sock"


@dataclass(frozen=True, slots=True)
class Host:
    """url: unix:///PATH or tcp://HOST:PORT; tls: how to speak to a tcp one, None for plain HTTP; found: by what it was
    chosen, for messages."""

    url: str
    tls: ssl.SSLContext | None = None
    found: str = "by default"


def find_host(environ: Mapping[str, str] = os.environ) -> Host:
    """The engine that is asked for: tc.host of testcontainers' properties, or DOCKER_HOST, or the context that
    DOCKER_CONTEXT or `docker context use` names, or the usual socket. TLS as DOCKER_TLS_VERIFY and DOCKER_CERT_PATH
    say, or as the context holds it.

    Raises HarnessError engine-unreachable (not-validated) for a context that is not there, or an address of a kind that
    is not spoken here (ssh://, npipe://).
    """
    home = Path(environ.get("HOME", "/root"))
    if url := _of_testcontainers(home / ".testcontainers.properties"):
        return _checked(Host(url, None, "tc.host in ~/.testcontainers.properties"))
    config = Path(environ.get("DOCKER_CONFIG") or home / ".docker")
    if asked := environ.get("DOCKER_HOST"):
        return _checked(Host(asked, _tls_of_environment(environ, config), "DOCKER_HOST"))
    name, found = environ.get("DOCKER_CONTEXT", ""), "DOCKER_CONTEXT"
    if not name:
        name, found = _current_context(config), f"the current context of {config / 'config.json'}"
    if name in ("", "default"):
        return Host(DEFAULT)
    return _checked(_of_context(config, name, f"context {name}, {found}"))


def unreachable(cause: str, remedy: str = "Start Docker, set DOCKER_HOST, or use --runtime local.") -> HarnessError:
    """No engine to be had: nothing can be said of what was to be validated on it."""
    return HarnessError("engine-unreachable", cause, remedy, outcome=Outcome.NOT_VALIDATED)


def _checked(host: Host) -> Host:
    if not host.url.startswith(("unix://", "tcp://")):
        raise unreachable(
            f"the Docker engine is at {host.url} ({host.found}), and only unix:// and tcp:// are spoken here",
            "Forward its socket, for example by ssh -L, and set DOCKER_HOST=unix://...; or use --runtime local.",
        )
    return host


def _of_testcontainers(file: Path) -> str:
    try:
        lines = [line.partition("=") for line in file.read_text().splitlines()]
    except (OSError, ValueError):
        return ""
    return next((value.strip() for key, _, value in reversed(lines) if key.strip() == "tc.host"), "")


def _current_context(config: Path) -> str:
    try:
        name = json.loads((config / "config.json").read_bytes()).get("currentContext", "")
    except (OSError, ValueError, AttributeError):
        return ""  # none, or one that Docker's own command line complains of as well
    return name if isinstance(name, str) else ""


def _of_context(config: Path, name: str, found: str) -> Host:
    place = hashlib.sha256(name.encode()).hexdigest()
    try:
        endpoint = json.loads((config / "contexts/meta" / place / "meta.json").read_bytes())["Endpoints"]["docker"]
        url, skip = str(endpoint["Host"]), bool(endpoint.get("SkipTLSVerify"))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise unreachable(f"Docker's {found} cannot be read: {type(error).__name__}: {error}") from error
    files = config / "contexts/tls" / place / "docker"
    return Host(url, _tls(files, verify=not skip) if files.is_dir() and url.startswith("tcp://") else None, found)


def _tls_of_environment(environ: Mapping[str, str], config: Path) -> ssl.SSLContext | None:
    verify = bool(environ.get("DOCKER_TLS_VERIFY"))
    if not verify and not environ.get("DOCKER_TLS"):
        return None
    return _tls(Path(environ.get("DOCKER_CERT_PATH") or config), verify=verify)


def _tls(files: Path, *, verify: bool) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=str(files / "ca.pem") if (files / "ca.pem").exists() else None)
        if not verify:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if (files / "cert.pem").exists():
            context.load_cert_chain(files / "cert.pem", files / "key.pem")
    except OSError as error:  # ssl.SSLError is one
        raise unreachable(
            f"the certificates in {files} cannot be used: {error}", "Correct DOCKER_CERT_PATH."
        ) from error
    return context
