"""A process that outlives the launcher by seconds: it stops the launcher's parts where the launcher cannot.

A program of its own (`python keeper.py`), it reads `+PID` and `-PID` of process groups from its input. The input
ends when the launcher does, however that ends: what was not taken back is then stopped. A signal that the kernel sends
at a parent's death (Linux: PR_SET_PDEATHSIG) would reach the parts alone, and not what they have started.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterable

GRACE_S = 15.0


def stop_groups(groups: Iterable[int], grace_s: float = GRACE_S) -> None:
    """Ask process groups to end, wait, then insist."""
    left = [group for group in groups if _send(group, signal.SIGTERM)]
    deadline = time.monotonic() + grace_s
    while left and time.monotonic() < deadline:
        time.sleep(0.1)
        left = [group for group in left if _send(group, 0)]
    for group in left:
        _send(group, signal.SIGKILL)


def main() -> None:
    """Keep the list until the input ends, then stop what is on it; the first group, which others talk to, last."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    groups: dict[int, None] = {}
    for line in sys.stdin:
        with contextlib.suppress(ValueError):
            group = int(line[1:])
            if line.startswith("+"):
                groups[group] = None
            else:
                groups.pop(group, None)
    first, *others = [*groups] or [0]
    stop_groups(others)
    stop_groups([first] if first else [])


def _send(group: int, number: int) -> bool:
    """Whether the group is there to be sent the signal."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


if __name__ == "__main__":
    main()
