"""Measurements, as ratios to others' code and with stable names: ``python -m tests.bench``."""
