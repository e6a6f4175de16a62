"""docs/clients.md: a subscriber who types what is written there gets what is promised."""

from __future__ import annotations

import sys

import pytest

from tests.clients import environments
from tests.support.ca import REPOSITORY
from tests.support.clients import run
from tests.world import namespaces

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not namespaces.possible(), reason="a file system of its own needs root"),
]


def test_the_commands_of_the_document_work_as_written(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    environments.certbot()  # in a network of its own nothing can be installed
    directory = str(tmp_path_factory.mktemp("document"))  # a short name: sockets will be in it
    words = ["unshare", "--net", "--mount", sys.executable, "-m", "tests.clients.as_written", directory]
    ran = run(words, REPOSITORY, seconds=360).ok()
    assert ran.output.count(": well") >= 6, ran.output
