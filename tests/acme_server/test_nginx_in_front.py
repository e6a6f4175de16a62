"""deploy/nginx-acme.conf: clients behind nginx keep their own address, whatever they write."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import ClientSession, TCPConnector

from core.settings import Settings
from tests.support.acme_client import AcmeClient
from tests.support.acme_front import BASE, Front, running
from tests.world.addresses import free_port

CONFIGURATION = Path(__file__).parents[2] / "deploy" / "nginx-acme.conf"
CLIENT = "127.0.0.5"

pytestmark = pytest.mark.skipif(
    shutil.which("nginx") is None, reason="nginx is not installed: apt-get install nginx-light"
)


def behind(settings: Settings) -> Settings:
    return replace(settings, acme=replace(settings.acme, trusted_proxies=("127.0.0.1/32",)))


@asynccontextmanager
async def nginx(directory: Path, front: Front) -> AsyncIterator[str]:
    """The URL of nginx in front of the ACME server, without TLS on either side."""
    port = free_port()
    text = CONFIGURATION.read_text()
    temporary = "".join(f" {kind}_temp_path {directory}/{kind};" for kind in ("client_body", "proxy"))
    for before, after in {
        "/run/nginx.pid": f"{directory}/nginx.pid",
        "/var/cache/acme-front": f"{directory}/renewal",
        "server 127.0.0.1:14000;": f"server {front.at.removeprefix('http://')};",
        "listen 443 ssl default_server;": f"listen 127.0.0.1:{port} default_server;",
        "ssl_certificate /etc/acme-front/chain.pem;": "",
        "ssl_certificate_key /etc/acme-front/key.pem;": "",
        "proxy_pass https://acme;": "proxy_pass http://acme;",
        "proxy_ssl_trusted_certificate /var/lib/acme-server/trust-anchor.pem;": "",
        "proxy_ssl_verify on;": "",
        "server_tokens off;": "server_tokens off;" + temporary,
    }.items():
        assert text.count(before) == 1, before
        text = text.replace(before, after)
    prologue = "daemon off;\n" + ("user root;\n" if os.geteuid() == 0 else "")
    (directory / "nginx.conf").write_text(f"{prologue}error_log {directory}/error.log;\n{text}")
    process = await asyncio.create_subprocess_exec(
        "nginx", "-p", str(directory), "-e", f"{directory}/error.log", "-c", f"{directory}/nginx.conf"
    )
    try:
        for _ in range(500):
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                break
            except ConnectionRefusedError:
                assert process.returncode is None, (directory / "error.log").read_text()
                await asyncio.sleep(0.01)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        await process.wait()


async def test_a_client_behind_nginx_is_known_by_its_own_address_whatever_it_writes(tmp_path: Path) -> None:
    async with (
        running(tmp_path, behind) as front,
        nginx(tmp_path, front) as at,
        ClientSession(connector=TCPConnector(local_addr=(CLIENT, 0))) as http,
    ):
        for name in ("X-Forwarded-For", "Forwarded", "X-Real-IP"):
            async with http.get(f"{at}/directory", headers={name: "198.51.100.7"}) as answer:
                assert answer.status == 200
            assert front.access[-1].split()[1] == CLIENT
        # The whole of newAccount and newOrder goes through as it came.
        client = AcmeClient(http, BASE, at=at)
        assert (await client.register()).status == 201
        assert (await client.order("www.example.com")).status == 201
        assert front.access[-1].split()[1:4] == [CLIENT, "POST", "/acme/new-order"]
