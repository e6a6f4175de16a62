"""The vault's process against others on its machine: no core dump, no debugger, no page on the swap device.

Must never: be undone later in the process's life.

BR 6.2.8, 6.5.1; CPS 6.5; docs/adr/0007-activation.md says what Python cannot promise.
"""

from __future__ import annotations

import ctypes
import logging
import resource
from pathlib import Path

from core import no_core_dump
from core.errors import ConfigurationError
from core.settings import Settings

_MCL_CURRENT, _MCL_FUTURE, _MCL_ONFAULT = 1, 2, 4
_CAP_IPC_LOCK = 1 << 14
_log = logging.getLogger(__name__)


def harden(settings: Settings) -> None:
    """No core dump, no ptrace by the same user, no page of ours on the swap device.

    Raises `ConfigurationError` in production when memory cannot be locked and there is swap to leak to.
    """
    no_core_dump.forbid()
    libc = ctypes.CDLL(None, use_errno=True)
    locked = may_lock_memory() and libc.mlockall(_MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT) == 0
    swap = len(Path("/proc/swaps").read_text().splitlines()) > 1
    must_not_leak(locked=locked, swap=swap, production=settings.deployment.production)


def must_not_leak(*, locked: bool, swap: bool, production: bool) -> None:
    """What is not locked may reach a swap device.  Raises `ConfigurationError` in production, else warns."""
    if locked:
        return
    remedy = "raise RLIMIT_MEMLOCK (LimitMEMLOCK=infinity in the unit), or turn swap off"
    if swap and production:
        raise ConfigurationError(
            f"the vault's memory cannot be locked, and on this machine's swap a PIN would stay: {remedy}"
        )
    _log.warning("vault: memory is not locked%s: %s", "" if swap else ", but there is no swap", remedy)


def may_lock_memory() -> bool:
    """Under a limit, locking would make later allocations fail instead of protecting them."""
    if resource.getrlimit(resource.RLIMIT_MEMLOCK)[0] == resource.RLIM_INFINITY:
        return True
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return bool(int(status["CapEff"], 16) & _CAP_IPC_LOCK)
