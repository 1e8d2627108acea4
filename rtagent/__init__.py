"""rtagent keeps Linux as the control plane of a VPP router, and proves that the two agree."""

__version__ = "0.1.0"
