"""A rule that the settings no longer meet stops issuance with its first second, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from core.errors import HaltIssuance
from core.settings import Rules, Settings
from tests.core.test_today import FIVE_REMOTES, public
from tests.support.acme_client import b64, csr, ec_key
from tests.support.acme_front import running

NAME = "www.example.com"


@pytest.mark.row("mpic.start")
@pytest.mark.row("mpic.numbers-by-date")
@pytest.mark.clause("BR 3.2.2.9")
@pytest.mark.parametrize(("remotes", "goes_on"), [(4, False), (5, True)])
async def test_an_order_waits_from_the_first_second_of_a_rule_that_the_settings_do_not_meet(
    tmp_path: Path, remotes: int, goes_on: bool
) -> None:
    def change(settings: Settings) -> Settings:
        rules = public(remotes)
        return replace(rules, acme=settings.acme)

    async with running(tmp_path, change) as front:
        assert front.context.settings.ca.rules is Rules.PUBLIC
        client = await front.subscriber()
        front.clock.at = FIVE_REMOTES - 2
        first, second = [await front.authorized(client, name) for name in (NAME, "b.example.com")]
        front.clock.at = FIVE_REMOTES - 1
        await client.post(first.body["finalize"], {"csr": b64(csr(ec_key(), [NAME]))})
        await front.run_jobs()
        assert (await client.post(first.headers["Location"])).body["status"] == "valid"

        front.clock.at = FIVE_REMOTES
        await client.post(second.body["finalize"], {"csr": b64(csr(ec_key(), ["b.example.com"]))})
        if goes_on:
            await front.run_jobs()
        else:
            with pytest.raises(HaltIssuance, match="5 beside the primary"):
                await front.run_jobs()
        status = (await client.post(second.headers["Location"])).body["status"]
        assert status == ("valid" if goes_on else "processing")
        # The front goes on: orders are taken, and wait.
        assert (await client.order("c.example.com")).status == 201
