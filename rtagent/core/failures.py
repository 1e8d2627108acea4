"""What may go wrong, wherever it does; apart, so that to know it costs no import."""

from __future__ import annotations


class Disconnected(Exception):
    """The other side is not there (any more); the caller retries when it is back."""


class VersionMismatch(Exception):
    """The other side speaks another version: the message says which messages are missing or changed."""


class Trouble(Exception):
    """Something that a person has to put right; the text is for that person."""
