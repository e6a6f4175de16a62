"""`python -m tests.world.supervised PREFIX run ...`: `acme-server run`, its perspectives in their namespaces.

Nothing is changed but the program by which the supervisor starts its processes.
"""

from __future__ import annotations

import functools
import sys

from operations import cli, supervisor
from operations.children import Children

if __name__ == "__main__":
    prefix = sys.argv.pop(1)
    # The name of the module in whose place it stands is how `status` knows a process of ours.
    program = (sys.executable, "-m", "tests.world.inside", prefix, "operations.process")
    supervisor.Children = functools.partial(Children, program=program)  # type: ignore[assignment, attr-defined]
    cli.main()
