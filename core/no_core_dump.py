"""No core dump of this process, and no debugger of the same user: for processes that meet secrets.

Must never: be undone later in the process's life.

prctl(2), core(5).
"""

from __future__ import annotations

import ctypes
import resource

_PR_SET_DUMPABLE = 4


def forbid() -> None:
    """From here on the kernel writes no core of this process."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
