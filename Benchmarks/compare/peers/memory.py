"""What a peer's process holds in memory."""

import os
import resource


def resident_bytes() -> int:
    """Resident now."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def peak_bytes() -> int:
    """Most that was resident at any time so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
