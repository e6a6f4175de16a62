"""A disk that takes no more writes, and then does again: operations/wiring.py, core/database.py."""

from __future__ import annotations

import os
import resource
import select
from pathlib import Path

import pytest

from bench.client import AcmeClient, FlowFailed, open_session
from tests.support.ca import RunningCa

WAIT = 30
"""Seconds; an app that ends takes one or two."""

NOTHING_MORE = (1, 1)
"""Octets that a file may have: every write fails, as on a full disk, until the process is another one."""


@pytest.mark.long
@pytest.mark.clause("BR 4.10.2")
async def test_after_a_failed_commit_the_app_is_started_anew_and_goes_on(tmp_path: Path) -> None:
    ca = RunningCa(tmp_path / "ca").start()
    try:
        (app,) = ca.processes("app")
        ended = os.pidfd_open(app)
        async with open_session(str(ca.trust_anchor), 2) as session:
            await AcmeClient.register(session, ca.directory_url)
            resource.prlimit(app, resource.RLIMIT_FSIZE, NOTHING_MORE)
            with pytest.raises(FlowFailed, match="503"):
                await AcmeClient.register(session, ca.directory_url)
        assert ca.get(f"{ca.public_url}/trust-anchor.pem")  # what is published stays served
        assert select.select([ended], [], [], WAIT)[0]
        ca.wait_until_it_answers()
        assert ca.processes("app") != [app]
        async with open_session(str(ca.trust_anchor), 2) as session:
            await AcmeClient.register(session, ca.directory_url)
        os.close(ended)
    finally:
        ca.stop()
