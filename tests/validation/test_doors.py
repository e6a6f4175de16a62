"""The room has two doors to the Internet, and each is one file; those between ourselves are named, too."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import validation

ROOM = Path(validation.__file__).parent
NETWORK = {"aiohttp", "httptools", "socket", "ssl", "http", "urllib.request", "requests", "dns"}


def imported(file: Path) -> set[str]:
    """The modules that a file imports, and their parents."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names | {name.partition(".")[0] for name in names}


@pytest.mark.parametrize("file", sorted(ROOM.rglob("*.py")), ids=lambda file: file.stem)
def test_only_the_dialer_and_the_stub_know_sockets(file: Path) -> None:
    doors = {
        "dialer": {"socket", "ssl"},
        "http_exchange": {"httptools"},  # reads octets; the dialer connects
        "stub": {"socket"},
        # A free port for Unbound; dnspython for files alone.
        "held_port": {"socket"},
        "resolver": {"dns"},
        "anchors": {"dns"},
        # The channel between coordinator and perspectives, who are ours.
        "mutual_tls": {"ssl"},
        "peer": {"aiohttp", "ssl"},
        "remote_server": {"aiohttp", "ssl"},
    }
    assert imported(file) & NETWORK == doors.get(file.stem, set())


@pytest.mark.parametrize("file", sorted(ROOM.rglob("*.py")), ids=lambda file: file.stem)
def test_no_file_knows_a_database_or_the_time_of_day_by_itself(file: Path) -> None:
    assert not imported(file) & {"sqlite3", "core.database", "time", "datetime", "random", "secrets"}


@pytest.mark.clause("RFC 8737 section 4")
@pytest.mark.must("rfc8737.4.only-for-this")
def test_acme_tls_is_spoken_for_one_method_alone() -> None:
    naming = {file.stem for file in ROOM.rglob("*.py") if "ACME_TLS" in file.read_text()}
    asking = {file.stem for file in ROOM.rglob("*.py") if "dialer.handshake" in file.read_text()}
    assert (naming, asking) == ({"dialer", "tls_alpn01"}, {"tls_alpn01"})
