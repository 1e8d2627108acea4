"""Real parts in private network namespaces: what tests, benchmarks and the demo are built from."""
