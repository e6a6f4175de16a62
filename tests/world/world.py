"""A fake Internet's names on loopback: `World` starts and stops them and changes records while they run.

Real parts: NSD for root, TLD and leaves, zones signed with fresh keys, a validating Unbound that trusts only
this root.  Nothing leaves the machine and no privileged port is used.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import dns.exception
import dns.message
import dns.query
import dns.rdatatype

from tests.world import signing, zones
from tests.world.addresses import SERVERS, free_port
from tests.world.servers import Nsd, Unbound
from tests.world.zones import Signing, Zone

RESOLVER = "127.0.0.1"


STEADY = 5
"""Answers in a row from the new zone, before it counts as published."""


class World:
    """The running world.

    `resolver` is "address:port" of the validating Unbound; `set_txt`/`set_records`/`clear` return when the
    authoritative server shows the change.  Negative answers live one second in Unbound's cache.
    """

    def __init__(self, directory: Path | None = None) -> None:
        self._own = directory is None
        self.directory = directory or Path(tempfile.mkdtemp(prefix="world-"))
        self.server_port = free_port(*SERVERS)
        self.resolver_port = free_port(RESOLVER)
        self.resolver = f"{RESOLVER}:{self.resolver_port}"
        self._keys: dict[str, signing.ZoneKey] = {}
        self._records: dict[str, list[str]] = {}
        self._serial = 1
        self._nsd: dict[str, Nsd] = {}
        self._unbound: Unbound | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> World:
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def set_txt(self, name: str, *values: str) -> None:
        """Let `name` (absolute, no trailing dot) have exactly these TXT records."""
        self.set_records(name, "TXT", [_quoted(value) for value in values])

    def set_records(self, name: str, kind: str, values: Sequence[str]) -> None:
        """Let `name` have exactly these records of type `kind`, beside those of the zone's text."""
        with self._lock:
            self._records[f"{name} {kind}"] = list(values)
            self._publish(self._zone_of(name))

    def add_txt(self, name: str, value: str) -> None:
        """Add one TXT record beside those already set."""
        with self._lock:
            self._records.setdefault(f"{name} TXT", []).append(_quoted(value))
            self._publish(self._zone_of(name))

    def clear(self, name: str, kind: str = "TXT") -> None:
        """Take away what was set."""
        with self._lock:
            self._records.pop(f"{name} {kind}", None)
            self._publish(self._zone_of(name))

    def ask(self, name: str, kind: str, timeout: float = 10) -> dns.message.Message:
        """What the resolver answers, DNSSEC OK set, within `timeout` seconds."""
        query = dns.message.make_query(name, kind, want_dnssec=True)
        return dns.query.udp_with_fallback(query, RESOLVER, timeout=timeout, port=self.resolver_port)[0]

    def root_anchor(self) -> str:
        """The root's DNSKEY, the resolver's trust anchor."""
        return self._keys[""].dnskey

    def stop(self) -> None:
        """Stop the servers and remove their files."""
        if self._unbound is not None:
            self._unbound.server.stop()
        for nsd in self._nsd.values():
            nsd.server.stop()
        if self._own:
            shutil.rmtree(self.directory, ignore_errors=True)

    def _start(self) -> None:
        keys = self.directory / "keys"
        keys.mkdir()
        for zone in zones.ZONES:
            self._keys[zone.name] = signing.generate(keys, zone.name)
        for zone in zones.ZONES:
            self._write(zone)
        for address in SERVERS:
            served = [(zone.name, self._file(zone)) for zone in zones.ZONES if zone.address == address]
            self._nsd[address] = Nsd(self.directory / f"nsd-{address}", address, self.server_port, served)
        for zone in zones.ZONES:
            self._await(zone)
        stubs = [(zone.name, zone.address, self.server_port) for zone in zones.ZONES]
        self._unbound = Unbound(
            self.directory / "unbound", RESOLVER, self.resolver_port, self.root_anchor(), stubs
        )
        self._unbound.server.wait_until(self._resolves)

    def _publish(self, zone: Zone) -> None:
        self._serial += 1
        self._write(zone)
        self._nsd[zone.address].reload(zone.name)
        self._await(zone)

    def _await(self, zone: Zone) -> None:
        # While NSD hands over to its new process the old one still takes a query now and then.
        self._nsd[zone.address].server.wait_until(
            lambda: all(self._shown(zone) == self._serial for _ in range(STEADY))
        )

    def _write(self, zone: Zone) -> None:
        ours = {key: values for key, values in self._records.items() if self._zone_of(key.split()[0]) is zone}
        plain = self.directory / f"{zone.name or 'root'}.zone"
        plain.write_text(zones.text(zone, self._serial, self._delegations(zone), ours), encoding="ascii")
        if zone.signing in (Signing.INSECURE, Signing.STRIPPED):
            plain.replace(self._file(zone))
            return
        expired = zone.signing is Signing.EXPIRED
        signing.sign(plain, self._file(zone), self._keys[zone.name], expired=expired)
        if zone.signing is Signing.TAMPERED:
            signed = self._file(zone).read_text(encoding="ascii")
            self._file(zone).write_text(signed.replace("\tA\t127.0.0.1", "\tA\t127.0.0.2"), encoding="ascii")

    def _delegations(self, parent: Zone) -> list[str]:
        lines = []
        for zone in zones.ZONES:
            if zone.parent == parent.name and zone is not parent:
                lines += [f"{zone.name}. NS ns.{zone.name}.", f"ns.{zone.name}. A {zone.address}"]
                if zone.signing is not Signing.INSECURE:
                    lines.append(self._keys[zone.name].ds)
        return lines

    def _zone_of(self, name: str) -> Zone:
        holders = [z for z in zones.ZONES if not z.name or name == z.name or name.endswith("." + z.name)]
        return max(holders, key=lambda zone: len(zone.name))

    def _file(self, zone: Zone) -> Path:
        return self.directory / f"{zone.name or 'root'}.signed"

    def _shown(self, zone: Zone) -> int:
        query = dns.message.make_query(zone.name + ".", dns.rdatatype.SOA)
        try:
            reply = dns.query.udp(query, zone.address, timeout=0.2, port=self.server_port)
        except (dns.exception.DNSException, OSError):
            return 0
        return int(reply.answer[0][0].serial) if reply.answer else 0

    def _resolves(self) -> bool:
        try:
            return bool(self.ask("www.example.com", "A", timeout=0.3).answer)
        except (dns.exception.DNSException, OSError):
            return False


def _quoted(value: str) -> str:
    pieces = [value[at : at + 255] for at in range(0, len(value), 255)] or [""]
    return " ".join('"' + piece.replace("\\", "\\\\").replace('"', '\\"') + '"' for piece in pieces)
