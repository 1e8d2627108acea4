"""The kernel side against real kernels: private namespaces, real Netlink, the memory FIB, and oracles of others."""
