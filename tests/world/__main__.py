"""`python -m tests.world`: the world for a person to look at, until Ctrl-C."""

from __future__ import annotations

import signal
import sys

from tests.world.world import ZONES, World


def main() -> int:
    """Run the world and say how to ask it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job has it ignored
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with World() as world:
        print(f"resolver (validating Unbound)   {world.resolver}")
        print("zones:")
        for zone in ZONES:
            print(f"  {zone.name or '.':24} {zone.signing:9} {zone.says}")
        print("Ctrl-C stops it.", flush=True)
        try:
            signal.pause()
        except KeyboardInterrupt:
            print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
