"""What may happen to a session with something outside, whatever it is; apart, so that to know it costs no import."""

from __future__ import annotations


class Disconnected(Exception):
    """The other side is not there (any more); the caller retries when it is back."""


class VersionMismatch(Exception):
    """The other side speaks another version: the message says which messages are missing or changed."""
