"""The pages by the status process as it runs: behind the server that reads OCSP first."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from core.randomness import SystemRandomness
from core.report_spool import Spool
from core.settings import Repository
from status import server
from tests.support.acme_client import ec_key
from tests.world.addresses import free_port


@pytest.fixture
async def url(house: Any) -> AsyncIterator[str]:
    """Without a vault: nothing here needs one."""
    found = f"http://127.0.0.1:{free_port()}"
    listen = Repository(listen=(found.removeprefix("http://"),), base_url=found)
    settings, ready = replace(house.settings, repository=listen), asyncio.Event()
    task = asyncio.create_task(server.serve(settings, house.data, house.clock, SystemRandomness(), ready.set))
    async with asyncio.timeout(10):
        await ready.wait()
    yield found
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def curl(*words: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *("curl", "-sS", "--max-time", "10", *words),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    return (await process.communicate())[0].decode()


@pytest.mark.clause("requirements 1.04")
@pytest.mark.clause("BR 4.9.12")
@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
async def test_what_the_document_says_to_type_reports_a_proven_compromise(
    house: Any, url: str, tmp_path: Path
) -> None:
    key = ec_key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "key.pem").write_bytes(key)
    challenge = await curl(f"{url}/report/challenge")
    fields = (
        "-F",
        "kind=key-compromise",
        "-F",
        f"challenge={challenge}",
        "-F",
        f"proof_file=@{tmp_path}/key.pem",
    )
    receipt = json.loads(await curl("-H", "Accept: application/json", f"{url}/report/", *fields))
    assert receipt["key_compromise_proven"] is True
    assert Spool(house.data.reports).waiting() == [receipt["number"]]
    assert f'<h1>Receipt <span class="number">{receipt["number"]}' in await curl(receipt["url"])


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
async def test_a_body_that_is_too_large_is_refused_and_nothing_is_kept(
    house: Any, url: str, tmp_path: Path
) -> None:
    (tmp_path / "large").write_bytes(bytes(200_000))
    words = (
        "-o",
        "/dev/null",
        "-w",
        "%{http_code}",
        "-F",
        "kind=misuse",
        "-F",
        f"proof_file=@{tmp_path}/large",
    )
    assert await curl(*words, f"{url}/report/") == "413"
    assert Spool(house.data.reports).waiting() == []
