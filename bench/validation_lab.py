"""The lab of bench.validation: names, hosts and perspectives on this machine, all real processes of ours.

Every name is below a registered domain and in a network of its own, as on the Internet: the limits for one
domain and one network (validation/limiter.py) bound nobody here.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from core.clock import SystemClock
from core.configuration import load
from core.data_directory import DataDirectory
from core.evidence import Result
from core.randomness import SystemRandomness, token
from core.rpc import RpcClient
from core.settings import Perspective, Settings
from tests.support.elsewhere import Pki
from tests.world.addresses import free_port
from tests.world.world import World
from validation.api import CHECK, CheckRequest
from validation.keys import generate_key
from validation.methods.txt import text_of
from validation.mpic.client import Perspectives

PRIMARY = "local"
REMOTES = tuple(f"far-{number}" for number in range(1, 7))
PROMPT = tuple(f"prompt-{number}" for number in range(1, 7))
"""Six more that need not look (bench/prompt_perspective.py)."""
THUMBPRINT = "9jg46WB3rR_AHD-EBXdN7cBkH1WOu0tA3M9fm21mqTI"
NAMES = 20
START_SECONDS = 20.0
_ACME_IDENTIFIER = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.31")


@dataclass(frozen=True, slots=True)
class Host:
    """One name with the token that it answers, at an address in a network of its own."""

    name: str
    address: str
    token: str

    @property
    def key_authorization(self) -> str:
        """What it serves."""
        return f"{self.token}.{THUMBPRINT}"

    @property
    def digest(self) -> bytes:
        """SHA-256 of it."""
        return hashlib.sha256(self.key_authorization.encode()).digest()


@dataclass(slots=True)
class Lab:
    """What stands; `processes` are the perspectives' by their code.

    `settings` reach the six remotes by sockets, `far` by mutual TLS, `prompt` the six that need not look,
    `near_prompt` these by sockets.
    """

    data: DataDirectory
    hosts: list[Host]
    settings: Settings
    far: Settings
    prompt: Settings
    near_prompt: Settings
    processes: dict[str, subprocess.Popen[bytes]]
    port: int
    resolver: str
    _number: int = 0

    def request(self, method: str) -> CheckRequest:
        """The next check: another name and account than the last.  "" is CAA alone."""
        self._number += 1
        host = self.hosts[self._number % NAMES]
        account = f"https://ca.example/account/{self._number}"
        asked = CheckRequest(host.name, account, str(self._number), method, "http-01", host.token, THUMBPRINT)
        return asked if method else replace(asked, token="", thumbprint="")

    def primary(self) -> RpcClient:
        """The way to the primary alone."""
        return RpcClient(self.data.perspective_socket(PRIMARY))

    def coordinator(self, settings: Settings) -> Perspectives:
        """All perspectives of `settings` together."""
        return Perspectives(self.data, settings, SystemClock(), SystemRandomness())


@contextlib.asynccontextmanager
async def lab(world: World) -> AsyncIterator[Lab]:
    """Hosts and seven perspectives, each of which answers by its socket, and the six others by TLS, too."""
    hosts = [
        Host(f"www.b{number}.many", f"127.0.{100 + number}.1", token(SystemRandomness()))
        for number in range(NAMES)
    ]
    _publish(world, hosts)
    port, tls_port = free_port("0.0.0.0"), free_port("0.0.0.0")
    loop = asyncio.get_running_loop()
    web = await loop.create_server(lambda: _Web(), "0.0.0.0", port, backlog=1024)
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        data = DataDirectory(Path(directory))
        secure = await loop.create_server(
            asyncio.Protocol, "0.0.0.0", tls_port, ssl=_contexts(hosts, data.root), backlog=1024
        )
        listen = {code: f"127.0.0.1:{free_port()}" for code in (*REMOTES, *PROMPT)}
        _identities(data)
        settings = {
            code: _settings(data, code, world.resolver, port, tls_port, listen.get(code, ""))
            for code in (PRIMARY, *REMOTES, *PROMPT)
        }
        with _perspectives(data, settings) as processes:
            near = load(settings[PRIMARY])
            far, prompt = (
                _by_tls(near, {code: listen[code] for code in codes}) for codes in (REMOTES, PROMPT)
            )
            near_prompt = _by_sockets(near, PROMPT)
            made = Lab(data, hosts, near, far, prompt, near_prompt, processes, port, world.resolver)
            await _ready(made)
            yield made
        web.close()
        secure.close()


def alone(settings: Settings) -> Settings:
    """The primary without the others."""
    first: tuple[Perspective, ...] = settings.validation.perspectives[:1]
    return replace(settings, validation=replace(settings.validation, perspectives=first))


def _by_sockets(settings: Settings, codes: tuple[str, ...]) -> Settings:
    """The primary, and by sockets those of `codes`."""
    perspectives = settings.validation.perspectives[:1] + tuple(Perspective(code) for code in codes)
    return replace(settings, validation=replace(settings.validation, perspectives=perspectives))


def _by_tls(settings: Settings, listen: dict[str, str]) -> Settings:
    """The primary, and by mutual TLS those of `listen`."""
    remotes = tuple(Perspective(code, url=f"https://{address}") for code, address in listen.items())
    perspectives = settings.validation.perspectives[:1] + remotes
    return replace(settings, validation=replace(settings.validation, perspectives=perspectives))


class _Web(asyncio.Protocol):
    """Answers every challenge with its key authorization, as cheaply as can be."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        body = data.split(b" ", 2)[1].rpartition(b"/")[2] + b"." + THUMBPRINT.encode()
        self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))


def _publish(world: World, hosts: list[Host]) -> None:
    for host in hosts:  # all at once with the last: each publication signs the zone anew
        world._records[f"{host.name} A"] = [host.address]
        world._records[f"_acme-challenge.{host.name} TXT"] = [f'"{text_of(host.digest).decode()}"']
    world.set_records(hosts[-1].name, "A", [hosts[-1].address])


def _contexts(hosts: list[Host], directory: Path) -> ssl.SSLContext:
    """A TLS server that shows each name its own acmeIdentifier certificate (RFC 8737)."""
    by_name = {host.name: _context(host, directory) for host in hosts}
    first = next(iter(by_name.values()))

    def choose(sock: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        sock.context = by_name.get(name or "", context)

    first.sni_callback = choose  # type: ignore[assignment]
    return first


def _context(host: Host, directory: Path) -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    named = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "bench")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(named, named, key.public_key(), 1, now, now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host.name)]), critical=False)
        .add_extension(x509.UnrecognizedExtension(_ACME_IDENTIFIER, b"\x04\x20" + host.digest), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = directory / f"{host.name}.pem"
    file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    context.set_alpn_protocols(["acme-tls/1"])
    return context


def _identities(data: DataDirectory) -> None:
    """Keys of all perspectives, and the private PKI of the channel."""
    pki = Pki(data.root / "pki")
    pki.coordinator(data)
    for code in (PRIMARY, *REMOTES, *PROMPT):
        generate_key(data.perspective(code), SystemRandomness())
    for code in (*REMOTES, *PROMPT):
        pki.give(data.channel(code), code)


def _settings(data: DataDirectory, code: str, resolver: str, port: int, tls_port: int, listen: str) -> Path:
    """The settings file of one perspective; that of the primary is the coordinator's, too."""
    listed = (code,) if listen else (PRIMARY, *REMOTES)
    lines = [
        "[validation]",
        f"resolvers = {json.dumps([resolver])}",
        f"http_port = {port}",
        f"tls_alpn_port = {tls_port}",
        'allowed_networks = ["127.0.0.0/8"]',
        'methods = ["http-01", "dns-01", "tls-alpn-01"]',
        *(f'[[validation.perspectives]]\ncode = "{each}"' for each in listed),
        "[mpic]",
        'zone = "mpic.ca.example"',
        f"listen = {json.dumps([listen] if listen else [])}",
    ]
    path = data.root / f"{code}.toml"
    path.write_text("\n".join(lines) + "\n", encoding="ascii")
    return path


@contextlib.contextmanager
def _perspectives(
    data: DataDirectory, settings: dict[str, Path]
) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    processes: dict[str, subprocess.Popen[bytes]] = {}
    try:
        for code, path in settings.items():
            module = "bench.prompt_perspective" if code in PROMPT else "operations.process"
            command = [sys.executable, "-m", module, "perspective", "--code", code]
            command += ["--data", str(data.root), "--config", str(path)]
            with (data.root / f"{code}.log").open("wb") as log:
                processes[code] = subprocess.Popen(command, stderr=log)
        yield processes
    finally:
        for process in processes.values():
            process.terminate()
        for process in processes.values():
            process.wait(20)


async def _ready(made: Lab) -> None:
    """Return when all answer by either way, and the resolver has every name in its cache."""
    deadline = time.monotonic() + START_SECONDS
    for settings in (made.settings, made.far, made.prompt):
        coordinator = made.coordinator(settings)
        try:
            while not await passes(coordinator, made.request("http-01")):
                if time.monotonic() > deadline:
                    logs = "\n".join(path.read_text()[-500:] for path in made.data.root.glob("*.log"))
                    raise RuntimeError(f"the perspectives did not start: {logs}")
                await asyncio.sleep(0.1)
        finally:
            await coordinator.close()


async def passes(coordinator: Perspectives, asked: CheckRequest) -> bool:
    """Whether all perspectives agree."""
    if asked.method:
        outcome = await coordinator.check(
            asked.name, asked.account_url, asked.method, asked.token, asked.thumbprint
        )
    else:
        outcome = await coordinator.recheck_caa(asked.name, asked.account_url, asked.caa_method)
    return outcome.result is Result.PASS


async def must_pass(client: RpcClient, asked: CheckRequest) -> None:
    """One check at one perspective.  Raises RuntimeError unless all passes, `TransientError`."""
    statement = (await client.call(CHECK, asked)).signed.statement()
    seen = {each.result for each in (statement.control, statement.caa) if each is not None}
    if seen != {Result.PASS}:
        raise RuntimeError(f"a check did not pass: {statement}")
