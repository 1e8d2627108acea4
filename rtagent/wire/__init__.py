"""Floor 1, codecs without IO: bytes to vectors and events, and back."""
