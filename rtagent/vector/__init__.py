"""Floor 0, the vocabulary: routes, nexthops, links and FIB entries as values. No IO, no clock, no logger."""
