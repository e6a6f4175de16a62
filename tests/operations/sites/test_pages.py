from __future__ import annotations

import asyncio
import base64
import hashlib
from pathlib import Path

import pytest

from core.settings import Settings
from core.sites import Site, SiteStatus
from operations.sites import pages
from operations.sites.shelf import Held
from tests.support.tls import certificate, names

HELD = Held(Path("shown.pem"), (certificate(names("expired-ec.test.localhost")),))


def page(status: SiteStatus) -> str:
    site = Site(f"{status}-ec.test.localhost", "ec", status, "https://x/")
    return pages.page(site, HELD, Settings()).decode()


class Writer:
    def __init__(self) -> None:
        self.said = b""

    def write(self, octets: bytes) -> None:
        self.said += octets

    async def drain(self) -> None:
        """Nothing to wait for."""


async def asked(octets: bytes) -> bytes:
    reader, writer = asyncio.StreamReader(limit=8192), Writer()
    reader.feed_data(octets)
    reader.feed_eof()
    await pages.answer(b"<p>page</p>", reader, writer)  # type: ignore[arg-type]
    return writer.said


@pytest.mark.parametrize(
    ("status", "english", "japanese"),
    [
        (SiteStatus.VALID, "is valid", "有効です"),
        (SiteStatus.REVOKED, "is revoked", "失効しています"),
        (SiteStatus.EXPIRED, "has expired", "切れています"),
    ],
)
def test_a_page_says_in_both_languages_what_it_demonstrates(
    status: SiteStatus, english: str, japanese: str
) -> None:
    text = page(status)
    assert english in text
    assert japanese in text
    assert 'lang="ja"' in text
    assert f"{HELD.leaf.serial_number:x}" in text
    assert "src=" not in text


@pytest.mark.clause("RFC 6797 section 12.1")
async def test_a_visitor_can_always_go_past_the_warning() -> None:
    head, _, body = (await asked(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK")
    assert b"strict-transport-security" not in head.lower()
    assert body == b"<p>page</p>"


@pytest.mark.parametrize(
    ("octets", "status"),
    [
        (b"HEAD / HTTP/1.1\r\n\r\n", b"200"),
        (b"GET /?from=a-tool HTTP/1.1\r\n\r\n", b"200"),
        (b"GET /other HTTP/1.1\r\n\r\n", b"404"),
        (b"POST / HTTP/1.1\r\n\r\n", b"405"),
        (b"\0\r\n\r\n", b"405"),
    ],
)
async def test_only_the_page_can_be_had(octets: bytes, status: bytes) -> None:
    said = await asked(octets)
    assert said.split(b" ")[1] == status
    assert (b"<p>page</p>" in said) is (octets.startswith(b"GET /") and status == b"200")


@pytest.mark.parametrize("octets", [b"", b"GET / HTTP/1.1\r\n", b"x" * 20000])
async def test_a_head_without_end_gets_no_answer(octets: bytes) -> None:
    assert await asked(octets) == b""


async def test_the_page_may_use_its_own_style_and_load_nothing() -> None:
    style = page(SiteStatus.VALID).partition("<style>")[2].partition("</style>")[0]
    allowed = base64.b64encode(hashlib.sha256(style.encode()).digest())
    head = (await asked(b"GET / HTTP/1.1\r\n\r\n")).partition(b"\r\n\r\n")[0]
    assert b"default-src 'none'" in head
    assert b"style-src 'sha256-" + allowed + b"'" in head
