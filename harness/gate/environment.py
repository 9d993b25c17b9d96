"""What scenarios find in their environment: where the stack's artefacts are, and its ports."""

from __future__ import annotations

from harness.stack.handle import Stack


def scenario_environment(stack: Stack) -> dict[str, str]:
    """SLO_ARTEFACT_<NAME>, a directory each, and SLO_ADDRESS_<SERVICE>_<PORT>, host:port each, of the ports that others
    may name: whatever runs the services has no other; names in capitals, with _ in place of -."""
    found = {f"artefact_{name}": str(stack.artefact(name)) for name in stack.file.spec.artefacts}
    for name, service in stack.file.spec.services.items():
        for port in service.port_names:
            found[f"address_{name}_{port}"] = stack.address(f"{name}.{port}")
    return {f"SLO_{name.upper().replace('-', '_')}": place for name, place in found.items()}
