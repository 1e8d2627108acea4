"""Netlink without IO: requests to bytes, and what the kernel answers to vectors and rows."""
