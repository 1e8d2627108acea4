"""Single parts, by hand-made values."""
