"""Hypothesis is told to be quick, and to find the same things everywhere."""

from hypothesis import settings

settings.register_profile("rtagent", deadline=None, derandomize=True, max_examples=100, database=None)
settings.load_profile("rtagent")
