"""Errors of peers: what they sent cannot be what they meant."""


class MalformedMessage(Exception):
    """A message that breaks the rules of its format; the text says which rule, and where."""
