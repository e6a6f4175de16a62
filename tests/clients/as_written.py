"""Runs the commands of docs/clients.md as they are written, on the ports 80 and 443 and below /etc and /var.

Only the ACME server has another port than 443, which clients need for tls-alpn-01.  It wants a network and a
file system that it alone sees: `unshare --net --mount python -m tests.clients.as_written DIRECTORY`.  It
tells of each section whether it went well, and shows the log of those that did not.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

from tests.clients import environments
from tests.support.ca import REPOSITORY, RunningCa
from tests.support.clients import HOOK
from tests.support.hosts import webroot
from tests.world.door import Door
from tests.world.net import Loopback
from tests.world.world import World

DOCUMENT = REPOSITORY / "docs" / "clients.md"
SECTION_SECONDS = 120
PORT = 14000

WRITTEN = ("/etc", "/var", "/usr/local/share")
"""Where the commands write: to layers of memory above what the machine has."""

WITH_WEB_SERVER = ("dehydrated", "uacme", "acmetool", "acme-tiny", "acme.sh")
"""Clients that put their answers where a web server on port 80 shows them."""


def sections() -> Iterator[tuple[str, str]]:
    """Title and commands of each section that has commands."""
    for part in re.split(r"^## ", DOCUMENT.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        title = part.splitlines()[0]
        commands = re.findall(r"^```sh\n(.*?)^```$", part, re.MULTILINE | re.DOTALL)
        if commands and not title.startswith("What all"):
            yield title, "".join(commands)


def main(directory: Path) -> None:
    """Make the document's world, and play a subscriber in it."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    binaries = {"certbot": environments.certbot()}
    if "ACME_SH" in os.environ:
        binaries["acme.sh"] = Path(os.environ["ACME_SH"])
    _hide(directory / "layers")
    net = Loopback()
    net.dns_port = net.resolver_port = 53
    with ExitStack() as stack:
        world = stack.enter_context(World(net=net))
        door = stack.enter_context(Door(world)).url
        ca = RunningCa(
            directory,
            {
                "validation.resolvers": [world.resolver],
                "validation.http_port": 80,
                "validation.tls_alpn_port": 443,
                "repository.base_url": "http://pki.acme.example",
                "acme.listen": [f"127.0.0.1:{PORT}"],
                "acme.base_url": f"https://acme.example:{PORT}",
                "acme.tls_names": ["acme.example", "localhost"],
            },
        )
        ca.acme_port = PORT
        stack.callback(ca.stop)
        ca.start()
        Path("/etc/hosts").write_text("127.0.0.1 localhost acme.example\n")
        Path("/etc/resolv.conf").write_text("nameserver 127.0.0.1\n")
        shutil.copy(ca.trust_anchor, "/usr/local/share/ca-certificates/acme-example.crt")
        subprocess.run(["update-ca-certificates"], check=True, capture_output=True)
        shutil.copy(HOOK, "/etc/acme/dns-hook")
        (directory / "bin").mkdir()
        for name, program in binaries.items():
            (directory / "bin" / name).symlink_to(program)
        environment = {
            **os.environ,
            "PATH": f"{directory}/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": str(directory),
            "REQUESTS_CA_BUNDLE": "/etc/ssl/certs/ca-certificates.crt",
            "WORLD_DOOR": door,
        }
        failed = ""
        for title, commands in sections():
            if title == "acme.sh" and title not in binaries:
                print(f"{title}: skipped")
                continue
            with ExitStack() as host:
                if title in WITH_WEB_SERVER:
                    host.enter_context(webroot(Path("/var/www/html"), 80))
                failed += _play(title, commands, directory, environment)
        if failed:
            sys.exit(failed)


def _play(title: str, commands: str, directory: Path, environment: Mapping[str, str]) -> str:
    """The log of a section that failed."""
    ran = subprocess.run(
        ["sh", "-ex", "-c", commands.replace("https://acme.example/", f"https://acme.example:{PORT}/")],
        cwd=directory,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=SECTION_SECONDS,
        check=False,
    )
    print(f"{title}: {'well' if ran.returncode == 0 else 'FAILED'}", flush=True)
    return "" if ran.returncode == 0 else f"== {title} ==\n{ran.stdout}"


def _hide(layers: Path) -> None:
    """Let nothing that the commands write reach the machine."""
    layers.mkdir()
    _mount("tmpfs", layers)
    for place in WRITTEN:
        upper, work = (layers / f"{part}{place.replace('/', '-')}" for part in ("upper", "work"))
        upper.mkdir()
        work.mkdir()
        _mount("overlay", place, f"lowerdir={place},upperdir={upper},workdir={work}")
    _mount("tmpfs", "/run")
    for made in ("/etc/acme", "/etc/lego", "/etc/dehydrated", "/var/www/html"):
        Path(made).mkdir(parents=True, exist_ok=True)


def _mount(kind: str, place: Path | str, options: str = "rw") -> None:
    subprocess.run(["mount", "-t", kind, "-o", options, kind, str(place)], check=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
