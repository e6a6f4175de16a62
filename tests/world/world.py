"""A fake Internet's names: `World` starts and stops them and changes records while they run.

Real parts: NSD for root, TLD and leaves, zones signed with fresh keys, a validating Unbound that trusts only
this root (perspectives may each have one of their own: `own_unbound`).  Beside them the scripted servers of
people who mean harm.  By itself all of it is on loopback and no privileged port is used; nothing ever leaves
the machine.
"""

from __future__ import annotations

import functools
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

from tests.world import honest, hostile, keytrap, signing, zones
from tests.world.net import INTERNET, Loopback, Net
from tests.world.scripted import ScriptedServers
from tests.world.servers import PROGRAM, Nsd, Unbound
from tests.world.zones import Signing, Zone

RESOLVER = "127.0.0.1"

ZONES = (*honest.ZONES, *hostile.ZONES)

NSD_SERVERS = ("root", "tld", "leaf")

STEADY = 5
"""Answers in a row from the new zone, before it counts as published."""


class World:
    """The running world.

    `resolver` is "address:port" of the validating Unbound; `set_txt`/`set_records`/`clear` return when the
    authoritative server shows the change.  Negative answers live one second in Unbound's cache.
    """

    def __init__(self, directory: Path | None = None, net: Net | None = None) -> None:
        self.net = net or Loopback()
        self._own = directory is None
        self.directory = directory or Path(tempfile.mkdtemp(prefix="world-"))
        self.server_port = self.net.dns_port
        self.resolver_port = self.net.resolver_port
        self.resolver = f"{RESOLVER}:{self.resolver_port}"
        self._keys: dict[str, signing.ZoneKey] = {}
        self._records: dict[str, list[str]] = {}
        self._serial = 1
        self._nsd: dict[str, Nsd] = {}
        self._traps: dict[str, list[str]] = {}
        self.scripted = ScriptedServers(
            self.net,
            [zone for zone in ZONES if zone.server in ("scripted", "udp_only")],
            self.net.addresses,
            udp=(self.net.addresses.scripted, self.net.addresses.udp_only),
            tcp=(self.net.addresses.scripted,),
        )
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
        return self.net.inside(
            self.net.perspectives[0],
            lambda: dns.query.udp_with_fallback(query, RESOLVER, timeout=timeout, port=self.resolver_port)[0],
        )

    def root_anchor(self) -> str:
        """The root's DNSKEY, the resolver's trust anchor."""
        return self._keys[""].dnskey

    def own_unbound(self) -> dict[str, str]:
        """The settings with which a perspective starts an Unbound of its own in this world."""
        one = self._unbound
        assert one is not None
        return {
            "validation.unbound": PROGRAM,
            "validation.unbound_include": str(one.include),
            "validation.trust_anchor": str(one.anchor),
        }

    def stop(self) -> None:
        """Stop the servers and remove their files."""
        if self._unbound is not None:
            self._unbound.server.stop()
        for nsd in self._nsd.values():
            nsd.server.stop()
        self.scripted.__exit__()
        if self._own:
            shutil.rmtree(self.directory, ignore_errors=True)

    def _start(self) -> None:
        keys = self.directory / "keys"
        keys.mkdir()
        for zone in ZONES:
            if zone.signing is Signing.KEYTRAP:
                self._traps[zone.name], ds = keytrap.trap(zone.name)
                self._keys[zone.name] = signing.ZoneKey(Path(), "", ds)
            elif zone.signing is not Signing.INSECURE:
                self._keys[zone.name] = signing.generate(keys, zone.name)
        served = [zone for zone in ZONES if zone.served and zone.server in NSD_SERVERS]
        for zone in served:
            self._write(zone)
        for server in NSD_SERVERS:
            self._nsd[server] = Nsd(
                self.directory / f"nsd-{server}",
                getattr(self.net.addresses, server),
                self.server_port,
                [(zone.name, self._file(zone)) for zone in served if zone.server == server],
                lambda words: self.net.command(INTERNET, words),
            )
        self.scripted.__enter__()
        for zone in served:
            self._await(zone)
        # On port 53 the root is enough, and delegations are followed; on another each zone's server is told.
        told = [zone for zone in ZONES if not zone.name or self.server_port != 53]
        self._unbound = Unbound(
            self.directory / "unbound",
            RESOLVER,
            self.resolver_port,
            self.root_anchor(),
            [(zone.name, self._address(zone), self.server_port) for zone in told],
            functools.partial(self.net.command, self.net.perspectives[0]),
        )
        self._unbound.server.wait_until(self._resolves)

    def _publish(self, zone: Zone) -> None:
        self._serial += 1
        self._write(zone)
        self._nsd[zone.server].reload(zone.name)
        self._await(zone)

    def _await(self, zone: Zone) -> None:
        # While NSD hands over to its new process the old one still takes a query now and then.
        self._nsd[zone.server].server.wait_until(
            lambda: all(self._shown(zone) == self._serial for _ in range(STEADY))
        )

    def _write(self, zone: Zone) -> None:
        ours = {key: values for key, values in self._records.items() if self._zone_of(key.split()[0]) is zone}
        plain = self.directory / f"{zone.name or 'root'}.zone"
        lines = zones.text(zone, self.net.addresses, self._serial, self._delegations(zone), ours)
        plain.write_text("\n".join([lines, *self._traps.get(zone.name, ())]) + "\n", encoding="ascii")
        if zone.signing in (Signing.INSECURE, Signing.STRIPPED, Signing.KEYTRAP):
            plain.replace(self._file(zone))
            return
        signing.sign(plain, self._file(zone), self._keys[zone.name], zone.signing)
        if zone.signing is Signing.TAMPERED:
            web = self.net.addresses.web
            signed = self._file(zone).read_text(encoding="ascii")
            self._file(zone).write_text(signed.replace(f"\tA\t{web}\n", "\tA\t127.0.0.2\n"), encoding="ascii")

    def _delegations(self, parent: Zone) -> list[str]:
        lines = []
        for zone in ZONES:
            if zone.parent == parent.name and zone is not parent:
                lines += [f"{zone.name}. NS ns.{zone.name}.", f"ns.{zone.name}. A {self._address(zone)}"]
                if zone.signing is not Signing.INSECURE:
                    lines.append(self._keys[zone.name].ds)
        return lines

    def _zone_of(self, name: str) -> Zone:
        holders = [z for z in ZONES if not z.name or name == z.name or name.endswith("." + z.name)]
        return max(holders, key=lambda zone: len(zone.name))

    def _address(self, zone: Zone) -> str:
        return str(getattr(self.net.addresses, zone.server))

    def _file(self, zone: Zone) -> Path:
        return self.directory / f"{zone.name or 'root'}.signed"

    def _shown(self, zone: Zone) -> int:
        query = dns.message.make_query(zone.name + ".", dns.rdatatype.SOA)
        try:
            reply = self.net.inside(
                INTERNET,
                lambda: dns.query.udp(query, self._address(zone), timeout=0.2, port=self.server_port),
            )
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
