"""status/pages/tls.py: what is personal goes by TLS, where the settings say where."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from tests.status.pages.conftest import Site, serving

WORDS = {"kind": "misuse", "description": "It serves a phishing page.", "contact": "x@y.z"}
URL = "https://report.ca.example"
BY_TLS = {"X-Forwarded-Proto": "https"}


@pytest.fixture
async def behind(house: Any) -> AsyncIterator[Site]:
    """The pages behind a proxy on this machine."""
    settings = house.settings
    house.settings = replace(
        settings,
        repository=replace(settings.repository, report_url=URL),
        acme=replace(settings.acme, trusted_proxies=("127.0.0.1",)),
    )
    async with serving(house) as site:
        yield site


@pytest.mark.parametrize("said", [{}, {"X-Forwarded-Proto": "http"}, {"X-Forwarded-Proto": "https, http"}])
async def test_a_report_in_the_clear_is_refused_unread_and_nothing_is_kept(
    behind: Site, said: dict[str, str]
) -> None:
    for prefix in ("", "/ja"):
        answer = await behind.post(f"{prefix}/report/", WORDS, **said)
        assert answer.status == 403
        assert f'href="{URL}{prefix}/report/"' in await answer.text()
    answer = await behind.post("/report/", WORDS, Accept="application/json", **said)
    found = await answer.json()
    assert (found["fault"], found["url"]) == ("not_tls", f"{URL}/report/")
    assert behind.spool.waiting() == []


async def test_form_and_receipt_in_the_clear_lead_to_where_they_are_by_tls(behind: Site) -> None:
    for path in ("/report/", "/ja/report/?certificate=0a", "/report/PR-20261123-0000000000/x"):
        async with behind.client.get(behind.url(path), allow_redirects=False) as answer:
            assert (answer.status, answer.headers["Location"]) == (307, URL + path)
            assert answer.headers["Cache-Control"] == "no-store"
    assert (await behind.get("/status/"))[0] == 200  # what is public stays where it is


async def test_by_tls_it_is_as_ever_and_the_receipt_is_there_too(behind: Site) -> None:
    assert (await behind.get("/report/", **BY_TLS))[0] == 200
    answer = await behind.post("/report/", WORDS, Accept="application/json", **BY_TLS)
    found = await answer.json()
    assert found["url"].startswith(f"{URL}/report/{found['number']}/")
    assert (await behind.get(found["url"].removeprefix(URL), **BY_TLS))[0] == 200
    assert behind.spool.waiting() == [found["number"]]


async def test_a_stranger_who_says_that_it_came_by_tls_is_not_believed(house: Any) -> None:
    settings = house.settings
    house.settings = replace(
        settings,
        repository=replace(settings.repository, report_url=URL),
        acme=replace(settings.acme, trusted_proxies=("192.0.2.80",)),
    )
    async with serving(house) as site:
        assert (await site.post("/report/", WORDS, **BY_TLS)).status == 403
        assert site.spool.waiting() == []
