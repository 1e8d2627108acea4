"""Floor 2, asyncio file descriptors: bytes in, bytes out, nothing else."""
