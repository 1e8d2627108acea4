"""The differential fuzzer: random commands to a kernel, and four readings of it that must be one.

``python -m tests.fuzz`` runs it; what it found is kept in ``found/`` and replayed by ``test_fuzz.py`` for ever.
"""
