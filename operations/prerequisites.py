"""What a start refuses beyond the settings themselves: the files that they name, and the CA that is there.

`run` and `check-config` ask this before any process is begun.  So whoever changes a setting hears of it with
its remedy, and not from the log of a process that does not come up.

Must never: write, open the token, or show what a secret's file holds.

BR 6.2.8 (PIN), 6.3.2 (validity); CPS 6.3.2.
"""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Collection
from pathlib import Path

from core.clock import Clock
from core.data_directory import DataDirectory
from core.errors import ConfigurationError
from core.reader import Reader
from core.refusal import wrong
from core.settings import Settings
from core.shared_secret import LEAST
from core.timekeeping import without_time
from operations import isolation


def files(settings: Settings, data: DataDirectory) -> None:
    """Secrets are private files of the process that reads them.  Raises `ConfigurationError`."""
    walls = isolation.decide(settings, data)
    for setting, named, role, least in (
        ("acme.binding_secret_file", settings.acme.binding_secret_file, "app", LEAST),
        ("redis.secret_file", settings.redis.secret_file, "app", LEAST),
        ("vault.pin_file", settings.vault.pin_file, "vault", 1),
        ("validation.key_passphrase_file", settings.validation.key_passphrase_file, "perspective", 1),
    ):
        if named:
            _must_be_private(setting, Path(named), least)
            if walls.on:
                _must_be_of(setting, Path(named), isolation.USERS[role])
    if settings.vault.zlint:
        from signer.vault.lint import zlint

        zlint.version(settings.vault.zlint)


def made(settings: Settings, data: DataDirectory, clock: Clock) -> list[str]:
    """The settings fit this machine and the CA that was made here; what to warn of.

    Raises `ConfigurationError`, `HaltIssuance` where the hierarchy was changed, `PermissionError`.
    """
    timeless = [sentence] if (sentence := without_time(settings, clock)) else []
    if not data.hierarchy.exists():
        return timeless
    from operations.alarms import succession
    from signer import reconciliation
    from signer.succession import outlook
    from signer.vault.sealed import description, hierarchy

    sealed = hierarchy.load(data, settings)
    hierarchy.must_have_people(settings, sealed)
    issuers = description.issuers(sealed, settings)
    must_be_pinned(settings, [each.code for each in sealed.perspectives])
    reconciliation.shards_must_be_of_issuers(settings, {each.id for each in issuers})
    _must_suit_register(settings, data)
    now = clock.now()
    said = succession.alarms(outlook(issuers, settings.profiles, now), settings, now)
    return timeless + [sentence for level, sentence in said if level >= logging.WARNING]


def must_be_pinned(settings: Settings, pinned: Collection[str]) -> None:
    """Raises `ConfigurationError` where the vault believes other perspectives than the settings name."""
    wanted = {perspective.code for perspective in settings.validation.perspectives}
    if wanted != set(pinned):
        raise ConfigurationError(
            f"validation.perspectives names {sorted(wanted)}, but the vault believes {sorted(pinned)}: "
            "their keys are pinned at the ceremony"
        )


def _must_be_private(setting: str, path: Path, least: int) -> None:
    """By what the file system says of it: a secret is read by nobody but the process that needs it."""
    try:
        found = path.stat()
    except OSError as error:
        raise wrong(setting, path, f"{error.strerror}: put the secret there, or name its file") from error
    if not stat.S_ISREG(found.st_mode):
        raise wrong(setting, path, "it is no plain file: name the file that holds the secret")
    if stat.S_IMODE(found.st_mode) & 0o077:
        raise wrong(setting, path, "it is open to others: chmod 600 it, and think about who read it")
    if found.st_size < least:
        raise wrong(setting, path, f"it has {found.st_size} octets, and {least} are the least: write it anew")
    if not os.access(path, os.R_OK):
        raise wrong(setting, path, "it cannot be read by whoever runs this: be its owner, or root")


def _must_be_of(setting: str, path: Path, user: str) -> None:
    owner = path.stat().st_uid
    if owner != isolation.user_uid(user):
        raise wrong(setting, path, f"{user} reads it and it belongs to uid {owner}: chown {user} {path}")


def _must_suit_register(settings: Settings, data: DataDirectory) -> None:
    """What certificates and accounts name stays.  Raises `ConfigurationError`."""
    from acme_server.urls import Urls, check_base
    from core import issuers

    if not data.database.exists():
        return
    rows = Reader(data.database)
    try:
        check_base(rows, Urls(settings))
        for known in issuers.issuers(rows):
            issuers.must_not_lose_shards(known, settings.status.shards_of(known.id))
    finally:
        rows.close()
