"""`python -m tests.world`: the world for a person to look at, until Ctrl-C."""

from __future__ import annotations

import signal
import sys

from tests.world.world import World
from tests.world.zones import ZONES


def main() -> int:
    """Run the world and say how to ask it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job has it ignored
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with World() as world:
        print(f"resolver (validating Unbound)   {world.resolver}")
        print(f"files                           {world.directory}")
        print("zones:")
        for zone in ZONES:
            print(f"  {zone.name or '.':24} {zone.signing:9} NSD at {zone.address}@{world.server_port}")
        print("try:")
        port = world.resolver_port
        print(f"  kdig @127.0.0.1 -p {port} +dnssec www.example.com A          (secure: flag ad)")
        print(f"  kdig @127.0.0.1 -p {port} caa-deny.example.com CAA")
        print(f"  kdig @127.0.0.1 -p {port} www.tampered-example.com A         (SERVFAIL, EDE 6)")
        print(f"a CA in it:  --set 'validation.resolvers=[\"{world.resolver}\"]'")
        print("Ctrl-C stops it.", flush=True)
        try:
            signal.pause()
        except KeyboardInterrupt:
            print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
