"""How trouble is told: one line on standard error. Without rich, which an agent that runs has no other use for."""

from __future__ import annotations

import sys


def tell(text: str) -> None:
    """Say what went wrong."""
    print(f"rtagent: {text}", file=sys.stderr)
