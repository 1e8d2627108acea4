"""Floor 3, what is: the kernel over Netlink."""
