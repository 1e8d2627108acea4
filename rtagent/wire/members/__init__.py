"""Members as others tell of them: files, announcements and nodes to values. What does not hold is refused here."""
