"""Configurations of the mesh as they come out, one folder a scenario (``python -m tests.golden.mesh.record``).

A change here is a change of what BIRD is told on every machine: the commit says why, and what it costs the sessions.
"""
