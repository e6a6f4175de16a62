"""`acme-server run`: one CA on one machine, from an empty directory to a served directory URL.

In this order: settings and prerequisites checked, one supervisor per data directory, directories and users
arranged, the ceremony where there is no hierarchy yet (operations/ceremony.py), the vault and the
perspectives, the app, the status process; then the screen that says how to use it.  A second run finds all
that and starts.

Must never: open the token or read a PIN; leave a process behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from core import checks
from core.blocklist import Blocklist
from core.clock import Clock
from core.configuration import load
from core.data_directory import DataDirectory
from core.errors import CaError, ConfigurationError
from core.high_risk import HighRisk
from core.settings import Settings
from core.today import coming
from operations import children, isolation, prerequisites, vault_notice
from operations.children import Child, ChildFailed, Children, unfollowed
from operations.process import Exit
from operations.screens import running_screen
from repo_static.documents import practice

LONGEST_SOCKET_PATH = 107
"""Octets that sun_path holds beside its NUL (unix(7))."""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Invocation:
    """The options that every command and every process shares."""

    config: Path | None
    data: Path
    overrides: tuple[str, ...] = ()

    def settings(self) -> Settings:
        """The settings.  Raises `ConfigurationError`."""
        if self.config is not None and not self.config.is_file():
            raise ConfigurationError(f"there is no file {self.config}; name yours with --config")
        return load(self.config, self.overrides)

    def directory(self) -> DataDirectory:
        return DataDirectory(self.data)

    def arguments(self) -> list[str]:
        """The same options as command-line words, with absolute paths."""
        words = ["--data", str(self.data.resolve())]
        if self.config is not None:
            words += ["--config", str(self.config.resolve())]
        for override in self.overrides:
            words += ["--set", override]
        return words


def run(invocation: Invocation, say: Say, clock: Clock, crash_at: str = "") -> int:
    """Run the CA until SIGINT or SIGTERM; an exit code.  `crash_at` ("app:step") is for the crash tests.

    Raises `ConfigurationError` for what the operator can set right, `CaError` when a process does not start.
    """
    settings = invocation.settings()
    if settings.mpic.listen:
        raise ConfigurationError(
            f"mpic.listen = {', '.join(settings.mpic.listen)}: these are the settings of a perspective's own "
            f"host; run `acme-server perspective {settings.validation.perspectives[0].code}` there"
        )
    checks.dated(settings, clock.now())
    for sentence in coming(settings, clock.now()):
        say(f"WARNING: {sentence}")
    data = invocation.directory()
    check_prerequisites(settings, data)
    for sentence in prerequisites.made(settings, data, clock):
        say(f"WARNING: {sentence}")
    data.run.mkdir(parents=True, exist_ok=True)
    with alone(data):
        walls = isolation.decide(settings, data)
        isolation.arrange(walls, data)
        _let_the_vault_lock_its_memory()
        let_all_open_files()
        check_ports(settings)
        if not data.hierarchy.exists():
            if settings.deployment.production:
                raise ConfigurationError(
                    f"{data.root} holds no hierarchy, and in production none is made without people: hold a "
                    "ceremony first (acme-server ceremony says how)"
                )
            asyncio.run(_ceremony(invocation, say))
            isolation.arrange(walls, data)
        return asyncio.run(_supervise(invocation, settings, data, walls, say, crash_at))


def check_prerequisites(settings: Settings, data: DataDirectory) -> None:
    """What must be there before anything is made.  Raises `ConfigurationError` with the remedy."""
    if not Path(settings.vault.module).exists():
        raise ConfigurationError(
            f"vault.module: there is no PKCS#11 module at {settings.vault.module}; "
            "run scripts/system-packages run, or set vault.module to your token's library"
        )
    if settings.validation.unbound or settings.validation.resolver_config:
        from validation.dns import eyes  # here, since the supervisor itself asks no DNS

        eyes.check(settings)
    Blocklist(settings.ca.blocklist).close()
    HighRisk(settings.ca.high_risk)
    practice.load(settings.ca.practice)
    prerequisites.files(settings, data)
    perspectives = (
        data.perspective_socket(one.code) for one in settings.validation.perspectives if not one.url
    )
    longest = max((os.fsencode(path) for path in (data.vault_socket, *perspectives)), key=len)
    if len(longest) > LONGEST_SOCKET_PATH:
        raise ConfigurationError(
            f"--data: {os.fsdecode(longest)} is longer than the {LONGEST_SOCKET_PATH} octets of a socket's "
            "path; choose a shorter data directory"
        )
    if data.root.exists() and not data.root.is_dir():
        raise ConfigurationError(f"--data: {data.root} is no directory; name another")
    if data.root.exists() and not os.access(data.root, os.W_OK | os.X_OK):
        raise ConfigurationError(
            f"--data: {data.root} belongs to another user; run as that user, or name another directory"
        )


def check_ports(settings: Settings) -> None:
    """That the addresses to listen on are free.  Raises `ConfigurationError` naming the setting."""
    listening = {
        "acme.listen": settings.acme.listen,
        "repository.listen": settings.repository.listen,
        "metrics.listen": settings.metrics.listen,
        "test_sites.listen": settings.test_sites.listen if settings.test_sites.zone else (),
    }
    if settings.mpic.listen:
        listening = {"mpic.listen": settings.mpic.listen}
    for key, listen in listening.items():
        for address in listen:
            host, _, port = address.rpartition(":")
            host = host.strip("[]")
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind((host, int(port)))
                except OSError as error:
                    raise ConfigurationError(
                        f"{key}: cannot listen on {address} ({error.strerror}); stop what uses it, "
                        f'or choose another: --set {key}=["127.0.0.1:PORT"] and the base_url beside it'
                    ) from error


async def _ceremony(invocation: Invocation, say: Say) -> None:
    # In a process of its own, which ends: this one never maps the token's library.
    say("No hierarchy here yet: making one (root and issuing keys, inside the token).")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "operations.ceremony", *invocation.arguments(), stdin=asyncio.subprocess.DEVNULL
    )
    code = await process.wait()
    if code:
        raise CaError(
            f"the ceremony failed (exit {code}), its reason is above; mend it and run again, it goes on"
        )


async def _supervise(
    invocation: Invocation,
    settings: Settings,
    data: DataDirectory,
    walls: isolation.Isolation,
    say: Say,
    crash_at: str,
) -> int:
    family = Children(data, walls, invocation.arguments(), say, crash_at)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def signalled() -> None:
        if stop.is_set():
            family.kill()
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, signalled)
    starting = asyncio.ensure_future(_start_all(family, settings, say))
    stopped = asyncio.ensure_future(stop.wait())
    keepers: list[asyncio.Task[None]] = []
    try:
        await asyncio.wait([starting, stopped], return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            return Exit.DONE
        starting.result()
        say(running_screen(settings, data, walls, invocation.arguments()))
        keepers = [asyncio.create_task(family.keep(child)) for child in children.of(settings)]
        keepers.append(asyncio.create_task(vault_notice.tell(data, say)))
        await stopped
        return Exit.DONE
    finally:
        starting.cancel()
        stopped.cancel()
        say("Stopping ...")
        await family.stop()
        for keeper in keepers:
            keeper.cancel()
        await asyncio.gather(starting, stopped, *keepers, return_exceptions=True)
        say("Stopped: every process has ended.")


def _let_the_vault_lock_its_memory() -> None:
    """The vault's own user may not raise this limit; root's children inherit it."""
    if os.geteuid() == 0:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def let_all_open_files(most: int = 65536) -> None:
    """As many as the unit in deploy/ gives, or the hard limit.

    Shells give 1,024, less than limits.connections: and a worker holds one for each segment of the index.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = most if hard == resource.RLIM_INFINITY else min(most, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


async def _start_all(family: Children, settings: Settings, say: Say) -> None:
    everyone = children.of(settings)
    say("Starting " + ", ".join(child.name for child in everyone) + " ...")
    # The vault first, as all build on its description; one perspective does not wait for another.
    await asyncio.gather(*(family.start(c) for c in everyone if c.role in ("vault", "perspective")))
    # The app makes the database that the rest of the front reads.
    await asyncio.gather(*(family.start(c) for c in everyone if c.role == "app"))
    front = [c for c in everyone if c.role in children.FRONT and c.role not in ("app", "sites")]
    await asyncio.gather(*(family.start(c) for c in front))
    for child in everyone:
        if child.role == "sites":
            await _start_sites(family, child, say)


async def _start_sites(family: Children, child: Child, say: Say) -> None:
    """Pages to try software on are no reason to issue, revoke and answer nothing."""
    try:
        await family.start(child)
    except ChildFailed as error:
        say(f"WARNING: {error}; the CA runs without its test sites, and tries again")


@contextlib.contextmanager
def alone(data: DataDirectory) -> Iterator[None]:
    """One supervisor for one data directory, by a lock that the kernel lets go of with the process."""
    path = data.run / "supervisor.pid"
    with open(path, "a+", opener=unfollowed) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            raise ConfigurationError(
                f"this CA runs already (process {file.read().strip()}); stop that one first, or use "
                "another --data"
            ) from error
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield
        path.unlink(missing_ok=True)
