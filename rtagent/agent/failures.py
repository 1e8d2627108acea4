"""What a TaskGroup raises, told as the one failure that began it."""

from __future__ import annotations


def first_failure(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the first exception of a group, however deeply nested."""
    first = group.exceptions[0]
    return first_failure(first) if isinstance(first, BaseExceptionGroup) else first
