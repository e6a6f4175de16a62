"""`activate`, `deactivate`, `halt`, `resume`: what people do at the vault, each on their own.

A share is opened here, with its holder's identity and passphrase, and leaves sealed to the vault's session
key: no other process sees it.

Must never: take a passphrase or a share from the command line or the environment, or show one.

BR 6.2.8, 6.2.9; CPS 6.2.8, 6.2.9, 6.4; docs/operations.md.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated

import typer

from core import caller
from core.data_directory import DataDirectory
from core.errors import ConfigurationError, Refused, TransientError
from core.people import Identity
from operations.commands.command import command, say
from operations.commands.options import PassphraseFile, Reporting
from operations.passphrases import passphrase_of
from operations.screens import activation_lines
from signer import consent
from signer.api import ActivationState, ConsentRequest
from signer.client import Vault
from signer.vault.people.shares import Share

Who = Annotated[Path, typer.Option("--identity", help="Your identity's file; its passphrase is asked for.")]
MaybeWho = Annotated[
    Path | None, typer.Option("--identity", help="Your identity, where people share the PIN.")
]
ShareFile = Annotated[
    Path | None,
    typer.Option("--share", help="Your share's file, if it is not in the data directory."),
]
Call = Callable[[Vault], Awaitable[ActivationState]]


def register(application: typer.Typer) -> None:
    """Add the commands."""
    for each in (activate, deactivate, halt, resume):
        command(application)(each)


def activate(
    given: Reporting, identity: Who, share: ShareFile = None, passphrase_file: PassphraseFile = None
) -> None:
    """Hand your share of the PIN to the vault.

    When enough people have done so within ten minutes, it opens the token, and orders go on.
    """
    directory = given.directory()
    person = _identity(identity, passphrase_file)

    async def call(vault: Vault) -> ActivationState:
        state = await vault.activation()
        if not state.locked or not state.threshold:
            return state
        found = _share(share, directory, person, state)
        return await vault.activate(consent.activation(person, found.open(person), found.index, state))

    _tell(_ask(directory, call), given.json)


def deactivate(given: Reporting, identity: Who, passphrase_file: PassphraseFile = None) -> None:
    """Agree that the vault closes its token.

    When as many people agree as open it, it does.  Published status stays served, orders wait.
    """
    directory = given.directory()
    person = _identity(identity, passphrase_file)

    async def call(vault: Vault) -> ActivationState:
        state = await vault.activation()
        return await vault.deactivate(consent.consent(person, consent.DEACTIVATE, caller.claimed(), state))

    _tell(_ask(directory, call), given.json)


def halt(
    given: Reporting,
    reason: Annotated[str, typer.Option(help="Why: for the journal, and for whoever is to resume.")],
) -> None:
    """Stop issuing certificates, at once.

    CRLs, OCSP answers and revocation go on; it lasts through restarts, until `resume`.
    """
    directory = given.directory()
    _tell(_ask(directory, lambda vault: vault.halt(caller.claimed(), reason)), given.json)


def resume(given: Reporting, identity: MaybeWho = None, passphrase_file: PassphraseFile = None) -> None:
    """Agree that issuing goes on after `halt`.

    Where people share the PIN, as many must agree as open the token.
    """
    directory = given.directory()
    person = None if identity is None else _identity(identity, passphrase_file)

    async def call(vault: Vault) -> ActivationState:
        if person is None:
            return await vault.resume(ConsentRequest(caller.claimed()))
        state = await vault.activation()
        return await vault.resume(consent.consent(person, consent.RESUME, caller.claimed(), state))

    _tell(_ask(directory, call), given.json)


def _ask(directory: DataDirectory, call: Call) -> ActivationState:
    async def asked() -> ActivationState:
        vault = Vault(directory.vault_socket, owner=directory.vault)
        try:
            return await call(vault)
        finally:
            await vault.close()

    try:
        return asyncio.run(asked())
    except TransientError as error:
        raise TransientError(
            f"the vault in {directory.root} does not do it ({error}); `acme-server status` says more"
        ) from error


def _tell(state: ActivationState, json_: bool) -> None:
    if json_:
        say(
            json.dumps(
                {
                    "locked": state.locked,
                    "threshold": state.threshold,
                    "holders": state.holders,
                    "activating": state.activating,
                    "deactivating": state.deactivating,
                    "resuming": state.resuming,
                    "halted": state.halted,
                }
            )
        )
    else:
        for line in activation_lines(state):
            say(line)


def _identity(path: Path, passphrase_file: Path | None) -> Identity:
    return Identity.load(path, passphrase_of(passphrase_file, str(path)))


def _share(chosen: Path | None, directory: DataDirectory, person: Identity, state: ActivationState) -> Share:
    """The person's share of the vault's token.  Raises `ConfigurationError`, `Refused`."""
    id = person.person.id
    paths = [chosen] if chosen is not None else sorted(directory.shares.glob(f"*/{id}.share.json"))
    for path in paths:
        share = Share.load(path)
        if share.token == state.token and share.holder_id == id:
            return share
    if chosen is not None:
        raise Refused(
            "share.other",
            f"{chosen} is not {person.person.name}'s share of the token {state.token}: bring that one",
        )
    raise ConfigurationError(
        f"no share of {person.person.name} ({id}) lies in {directory.shares}: name its file with --share"
    )
