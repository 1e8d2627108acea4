"""VPP's binary API: its framing, its message definitions, and the two messages that come in millions."""
