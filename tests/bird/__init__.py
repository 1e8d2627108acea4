"""BIRD as we talk to it: the client, and the safe application of its configuration, with each release at hand."""
