"""What a refusal must be, and what it may not change."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from acme_server.problems import NAMESPACE, ErrorType
from tests.support.acme_client import Answer

NAME = "www.example.com"
REPOSITORY = Path(__file__).resolve().parents[2]


def must_help(document: dict[str, Any], kind: ErrorType) -> None:
    """A person can act on it, and learns nothing of our inside."""
    assert document["type"] == NAMESPACE + kind
    detail = document["detail"]
    assert len(detail.split()) >= 3, detail
    assert detail.isprintable()
    for leak in (
        "Traceback",
        str(REPOSITORY),
        "site-packages",
        ".py",
        "sqlite",
        "SELECT",
        "None",
        "object at",
    ):
        assert leak not in json.dumps(document)


def must_be_refusal(answer: Answer, status: int, kind: ErrorType) -> None:
    assert (answer.status, answer.problem) == (status, kind), answer.octets
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.body["status"] == status
    must_help(answer.body, kind)
    assert ("Retry-After" in answer.headers) == (status in (429, 503))


def order(*names: str, **members: Any) -> dict[str, Any]:
    return {"identifiers": [{"type": "dns", "value": each} for each in names], **members}
