"""Kills a ceremony that makes a copy of a token and destroys a key in both, at every step of these two.

    python -m tests.support.copy_crashes DIRECTORY

Each try leaves `found.json` in a directory of its own.  See tests/support/ceremony_crashes.py.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

from core.data_directory import DataDirectory
from core.errors import CaError
from core.people import Identity
from signer.vault.ceremony import engine
from signer.vault.ceremony.tokens import Tokens
from signer.vault.sealed import copies, hierarchy, inventory
from signer.vault.sealed.seal import TokenRole
from tests.support.ceremonies import hold, people, script
from tests.support.ceremony_crashes import Approving, in_child, kill_at, listen
from tests.support.hierarchy import settings

STEPS = """
[[steps]]
kind = "backup"
id = "safe-1"
token = "issuing"
to = "{copy}"
[[steps]]
kind = "revoke-issuer"
issuer = "ec-1"
reason = "superseded"
[[steps]]
kind = "root-crl"
[[steps]]
kind = "destroy"
issuer = "ec-1"
[[steps]]
kind = "seal"
"""


def main(directory: Path) -> None:
    """Try every step of the backup (1) and of the destruction (4)."""
    engine.LintPool = Approving  # type: ignore[assignment,misc]
    identities = people()
    first = directory / "first"
    assert in_child(lambda: begin(first, identities)) == 0
    whole = directory / "whole"
    shutil.copytree(first, whole)
    second = script(identities, STEPS.format(copy=whole / "copy"))
    assert in_child(lambda: listen(whole, second, identities[:2])) == 0
    steps = json.loads((whole / "steps.json").read_text())
    for number, step in enumerate(step for step in steps if step.startswith(("ceremony 1 ", "ceremony 4 "))):
        attempt(directory / f"{number:02d}", first, step, identities)


def begin(directory: Path, identities: list[Identity]) -> None:
    """The first ceremony."""
    (directory / "data").mkdir(parents=True)
    hold(directory / "data", script(identities), identities[:2])


def attempt(root: Path, first: Path, step: str, identities: list[Identity]) -> None:
    """Kill it at `step`, let others go on, and look."""
    shutil.copytree(first, root)
    data, copy = DataDirectory(root / "data"), root / "copy"
    chosen = script(identities, STEPS.format(copy=copy))
    killed = in_child(lambda: kill_at(step, data, chosen, identities[:2]))
    resumed = in_child(lambda: hold(data, chosen, identities[1:]) and None)
    told = {"step": step, "killed": killed, "resumed": resumed}
    (root / "found.json").write_text(json.dumps(told))
    in_child(lambda: look(root, data, copy, told, identities))


def look(root: Path, data: DataDirectory, copy: Path, told: dict[str, object], those: list[Identity]) -> None:
    """What the seal says, and what is really there."""
    sealed = hierarchy.load(data, settings())
    told["sealed"] = {entry.label: len(entry.places) for entry in inventory.entries(sealed)}
    try:
        copies.check(copy, sealed.copies[0])
        told["whole"] = True
    except CaError:
        told["whole"] = False
    tokens = Tokens(settings(), data, root / "softhsm2.conf", {}, tuple(those))
    token = sealed.token(TokenRole.ISSUING)
    told["token"] = sorted(tokens.session(token).labels())
    told["copy"] = sorted(tokens.elsewhere(token, copy / copies.TOKEN).labels())
    tokens.close()
    (root / "found.json").write_text(json.dumps(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
