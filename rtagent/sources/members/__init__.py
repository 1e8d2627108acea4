"""Who claims to be a member: a file, an MQTT broker, a Kubernetes API. Each source reports everything it knows at once.

A source that is out of touch reports nothing, and so takes nothing away.
"""

from __future__ import annotations

from typing import Protocol

from rtagent.vector.claims import Claims


class ClaimSink(Protocol):
    """Where sources report to. ``source`` is "file", "mqtt" or "kubernetes"."""

    def report(self, source: str, claims: Claims) -> None:
        """These claims and no others are what the source knows now: it is in touch."""

    def trouble(self, source: str, text: str) -> None:
        """Something is wrong with the source, until it reports again; what it reported before still counts."""

    def refused(self, source: str, what: str, why: str) -> None:
        """Somebody told the source something that does not count: a forgery, something stale, nonsense."""
