"""Short random names for runs and stacks."""

from __future__ import annotations

import secrets


def new_id() -> str:
    """Eight lower-case hexadecimal digits."""
    return secrets.token_hex(4)
