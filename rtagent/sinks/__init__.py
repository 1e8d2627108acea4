"""Floor 3, data planes: they make it so and answer per row."""
