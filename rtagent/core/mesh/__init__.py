"""The mesh as pure decisions: members to sessions, sessions to BIRD's text, text to what its change costs, verdicts."""
