"""The pages in a real browser: headless Chromium, axe-core, keyboard, phone, dark, without scripts.

Screenshots are left in build/screenshots.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core import report_rows
from core.problem_reports import Channel, Filed, Kind
from core.settings import Settings, SiteSettings
from repo_static import publisher
from repo_static.documents import editions, text
from repo_static.documents.editions import Edition
from repo_static.documents.kinds import Document
from repo_static.rendering import LANGUAGES
from repo_static.store import Store
from tests.browser import environments
from tests.status.conftest import House, house, status_settings
from tests.status.pages.conftest import serving
from tests.status.pages.test_log_names import with_scts
from tests.support.ct_log import three, write_list

CHROMIUM = shutil.which("chromium")
SCREENSHOTS = environments.REPOSITORY / "build" / "screenshots"
SECONDS = 150
"""For the walk: it takes some 25 on two quiet cores."""

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed: scripts/system-packages test"),
]

__all__ = ["house", "status_settings"]


@pytest.fixture
async def full(house: House, tmp_path: Path) -> AsyncIterator[dict[str, Any]]:
    """A repository with something on every page, and the plan of the walk."""
    logs = three()
    for at, each in enumerate(logs):
        each.url = f"https://log{at}.example/"
    house.settings = replace(
        house.settings,
        test_sites=SiteSettings(zone="test.ca.example", forwarded=True),
        ct=write_list(tmp_path, logs[:2], house.clock.now()),
    )
    good, revoked = await house.issue(), await house.issue("rsa1")
    await house.revoke(revoked, 1)
    await house.updater().update()
    store, now = Store(house.data.repository), house.clock.now()
    publisher.publish(store, house.vault.description(), house.settings)
    for document in Document:
        publish_twice(store, document, house.settings, now)
    number = "PR-20261123-7Q4KX2M9TD"
    filed = Filed(number, house.clock.now(), Channel.PAGE, Kind.MISUSE, "en", (), (), (), "x", "")
    await house.database.write(lambda tx: report_rows.insert(tx, filed, actor="a test"))
    await house.database.write(
        lambda tx: report_rows.answer(tx, number, "Thank you. We have begun to look into it.")
    )
    house.clock.at += 5 * 3600
    async with serving(house) as site:
        receipts = next(each for each in site.pages if hasattr(each, "of_filed"))
        yield {
            "base": f"http://127.0.0.1:{site.server.port}",
            "chromium": CHROMIUM,
            "axe": str(environments.axe()),
            "screenshots": str(SCREENSHOTS),
            "pages": {"home": "/", "status": "/status/", "report": "/report/", "documents": "/cps/"},
            "serial": good.hex(),
            "revoked": revoked.hex(),
            "pem": with_scts(house, good, logs),
            "others": {
                language: {
                    "receipt": receipts.path(number, language),
                    "no-receipt": f"{'/ja' if language == 'ja' else ''}/report/{number}/x",
                    "text": f"/terms/latest.{language}.html",
                    "changes": f"/terms/changes-0.9-1.{language}.html",
                }
                for language in LANGUAGES
            },
        }


def publish_twice(store: Store, document: Document, settings: Settings, now: int) -> None:
    """A version and its successor, whose change takes some words to say."""
    first = {"en": "First version.", "ja": "初版"}
    second = {
        "en": "Problem reports are taken by TLS only, and what reporters wrote is erased in time.",
        "ja": "問題の報告は TLS によってのみ受け付け、報告者が記入した内容は期間を定めて消去する。",
    }
    drafts = text.drafts(document, settings)
    changed = {language: draft.replace("24", "48") for language, draft in drafts.items()}
    published = [
        Edition(document, "0.9", changed, now, "committee", "minutes 1", first, now, now),
        Edition(document, document.version(settings), drafts, now, "committee", "2", second, now, now),
    ]
    editions.publish(store, document, published, settings)


@pytest.mark.clause("requirements 1.04")
async def test_every_page_is_good_to_see_to_hear_and_to_type_in(full: dict[str, Any], tmp_path: Path) -> None:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    plan = tmp_path / "plan.json"
    plan.write_text(json.dumps(full))
    walk = await asyncio.create_subprocess_exec(
        *(environments.python(), Path(environments.HERE) / "walk.py", plan),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(SECONDS):
        output, errors = await walk.communicate()
    assert walk.returncode == 0, errors.decode()[-3000:]
    assert output.decode().strip() == ""
