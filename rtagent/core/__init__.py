"""Floor 1, pure decisions: what should be installed, what is, and what to do about the difference."""
