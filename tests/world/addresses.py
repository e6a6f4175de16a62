"""Where the name servers live: loopback addresses of their own, so that each level is a separate server."""

from __future__ import annotations

import socket

ROOT = "127.0.53.1"
TLD = "127.0.53.2"
LEAF = "127.0.53.3"
SERVERS = (ROOT, TLD, LEAF)


def free_port(*addresses: str) -> int:
    """A port that is free now for TCP and UDP on all `addresses` (default: 127.0.0.1)."""
    wanted = addresses or ("127.0.0.1",)
    for _ in range(50):
        held: list[socket.socket] = []
        port = 0
        try:
            for address in wanted:
                for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                    sock = socket.socket(socket.AF_INET, kind)
                    held.append(sock)
                    sock.bind((address, port))
                    port = sock.getsockname()[1]
            return port
        except OSError:
            continue
        finally:
            for sock in held:
                sock.close()
    raise RuntimeError(f"no port is free on {', '.join(wanted)}")
