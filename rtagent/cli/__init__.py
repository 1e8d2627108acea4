"""Floor 5, commands for people."""
