"""Bytes that others made, or that we made once: what comes of them stays the same."""
