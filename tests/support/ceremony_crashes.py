"""Kills a ceremony at every step, and again; other people go on with it; then the tokens' keys are listed.

    python -m tests.support.ceremony_crashes DIRECTORY

One directory for each try, numbered: the data directory, `killed` (the transcript as the killed process left
it), `steps` and `labels.json`.  Each sitting is a forked child, so that the parent never maps the token's
library.  The linter is not what is tried here: a double says yes, and saves half a minute of starting it.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from core.data_directory import DataDirectory
from core.people import Identity
from operations.process import crash_at
from signer.api import LintRecord
from signer.vault.ceremony import engine, past
from signer.vault.ceremony.script import Script
from signer.vault.ceremony.tokens import Tokens
from signer.vault.sealed import hierarchy
from tests.support.ceremonies import hold, people, script
from tests.support.hierarchy import settings


class Approving:
    """A linter that finds nothing."""

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def start(self) -> None:
        pass

    async def lint(self, *_: object, **__: object) -> LintRecord:
        return LintRecord(("double 1",), ())

    def close(self) -> None:
        pass


class Listening(logging.Handler):
    """The steps of a ceremony that is not killed."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.steps: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if step := getattr(record, "step", ""):
            self.steps.append(step)


def main(directory: Path) -> None:
    """Try every step."""
    engine.LintPool = Approving  # type: ignore[assignment,misc]
    identities = people()
    chosen = script(identities)
    (directory / "whole").mkdir()
    assert in_child(lambda: listen(directory / "whole", chosen, identities[:2])) == 0
    steps = json.loads((directory / "whole" / "steps.json").read_text())
    tries = [[step] for step in steps] + [["ceremony 8 signed"] * 2 + ["ceremony 10 signed"]]
    for number, try_ in enumerate(tries):
        root = directory / f"{number:03d}"
        root.mkdir()
        (root / "steps").write_text(json.dumps(try_))
        data = DataDirectory(root / "data")
        for step in try_:
            killed = in_child(lambda step=step, data=data: kill_at(step, data, chosen, identities[:2]))
            assert killed == -signal.SIGKILL, (step, killed)
        shutil.copy(past.transcripts(data)[-1], root / "killed")
        resumed = in_child(lambda data=data: held(data, chosen, identities[1:]))
        (root / "resumed").write_text(str(resumed))
        if resumed == 0:
            in_child(lambda root=root, data=data: inventory(root, data, identities))


def listen(directory: Path, chosen: Script, present: Sequence[Identity]) -> None:
    listening = Listening()
    logging.getLogger().addHandler(listening)
    logging.getLogger("signer").setLevel(logging.DEBUG)
    hold(directory / "data", chosen, present)
    (directory / "steps.json").write_text(json.dumps(listening.steps))


def kill_at(step: str, data: DataDirectory, chosen: Script, present: Sequence[Identity]) -> None:
    crash_at(step)
    hold(data, chosen, present)


def held(data: DataDirectory, chosen: Script, present: Sequence[Identity]) -> None:
    hold(data, chosen, present)


def inventory(root: Path, data: DataDirectory, present: Sequence[Identity]) -> None:
    """The labels of the private keys in each token."""
    tokens = Tokens(settings(), data, root / "softhsm2.conf", {}, tuple(present))
    found = {}
    for token in hierarchy.load(data, settings()).tokens:
        found[token.label] = sorted(tokens.session(token).labels())
    tokens.close()
    (root / "labels.json").write_text(json.dumps(found))


def in_child(work: Callable[[], None]) -> int:
    """Do it in a forked child; its exit code, negative for a signal."""
    pid = os.fork()
    if not pid:
        code = 1
        try:
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
