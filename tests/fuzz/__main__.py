"""`python -m tests.fuzz TARGET [libFuzzer's options]`: octets guided by the coverage of our own code.

New finds worth keeping go to tests/vectors/fuzz/TARGET; the directory given first is where the fuzzer writes.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["validation", "core.identifiers", "acme_server", "status"]):
    from tests.fuzz.targets import TARGETS

VECTORS = Path(__file__).parents[1] / "vectors" / "fuzz"


def main() -> None:
    """Fuzz one target."""
    if len(sys.argv) < 2 or sys.argv[1] not in TARGETS:
        sys.exit(f"usage: python -m tests.fuzz {'|'.join(TARGETS)} [WORK-DIRECTORY] [-max_total_time=60 ...]")
    _, target, *options = sys.argv
    atheris.Setup([sys.argv[0], *options, str(VECTORS / target)], TARGETS[target])
    atheris.Fuzz()


main()
