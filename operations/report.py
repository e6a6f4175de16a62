"""`acme-server status`: what runs, what it is, and what is not as it should be.

Reads only; works with the CA up, half up or down.

Must never: call something conforming that is not.
"""

from __future__ import annotations

import asyncio
import errno
import os
import sqlite3
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from acme_server.registration.binding_secret import BindingSecret
from acme_server.store import holds, incidents
from core import gaps, revocations, today
from core.clock import STEP_BACK_TOLERANCE, SystemClock
from core.data_directory import DataDirectory
from core.database import Reader
from core.ephemeral.redis.standing import examine
from core.errors import CaError, ConfigurationError
from core.settings import CtMode, Rules, Settings
from operations import children, isolation
from operations.alarms import deadlines, keeper, perspectives, reports, succession
from operations.alarms.vault import NOT_CONFORMING
from operations.desk import bindings, document_calls
from operations.documents.agreement import Agreement
from operations.screens import activation_lines
from operations.supervisor import Invocation
from repo_static.documents import text
from repo_static.documents.kinds import Document
from repo_static.manifest import verify
from signer.api import ActivationState
from signer.client import Vault
from validation.mpic.channel import channels

_ROOT_TOKEN = "root"
"""The directory of the root's token unless the ceremony's script names another place."""

_INCIDENTS = 20
"""Incidents that are looked at: the open ones come first."""

_NO_HOLDS = {"waiting": 0, "oldest": None}
"""Orders that wait for a person; POSIX seconds."""

_NO_REPORTS = {"open": 0, "late": 0, "next_due": None, "alarm": False, "says": ""}
"""Problem reports, where there is no database yet."""

_PATIENCE = 5.0
"""Seconds for the vault's answer; a vault that hangs must not hang the report."""


def gather(invocation: Invocation) -> dict[str, Any]:
    """The report as JSON can hold it.  Raises `ConfigurationError` when there is no CA there."""
    settings, data = invocation.settings(), invocation.directory()
    if not data.root.is_dir():
        raise ConfigurationError(f"--data: there is no CA in {data.root} yet; `acme-server run` makes one")
    if not os.access(data.root, os.R_OK):
        # What cannot be read must not be reported as down, or as empty.
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(data.root))
    processes = {child.name: _pid(data.run / f"{child.name}.pid") for child in children.of(settings)}
    walls = isolation.decide(settings, data)
    state = _activation(data)
    now = SystemClock().now()
    told = practice(data, processes["app"] is not None)
    return {
        "running": all(processes.values()),
        "processes": processes,
        "data": str(data.root),
        "rules": settings.ca.rules.value,
        "production": settings.deployment.production,
        "directory": f"{settings.acme.base_url}/directory",
        "isolated": walls.on,
        "not_isolated_because": walls.reason,
        "succession": succession.report(data, settings, now),
        "coming": [*today.coming(settings, now), *_unstated(settings)],
        "perspectives": _perspectives(settings, data, now),
        "vault": _vault(state),
        "redis": _redis(settings, data),
        "manifest": verify.standing(data.repository, now, settings.repository.manifest_pins),
        "ocsp": keeper.report(data, settings, now),
        "not_conforming": [
            *_not_conforming(data, settings.vault.pin_file, walls, state),
            *_untransparent(settings),
            *today.refusals(settings, now),
        ],
        **_from_database(settings, data, now),
        **({} if told is None else {"documents": told}),
    }


def screen(found: dict[str, Any]) -> str:
    """The report for a person."""
    lines = [f"CA in {found['data']}, {found['rules']} rules, {found['directory']}", ""]
    for name, pid in found["processes"].items():
        lines.append(f"  {name:<24} {f'up (pid {pid})' if pid else 'DOWN'}")
    for each in found["perspectives"]["elsewhere"]:
        lines.append(f"  {'perspective-' + each['code']:<24} {each['says']} ({each['url']})")
    lines += [f"  ALARM  {alarm}" for alarm in found["perspectives"]["alarms"]]
    lines += [f"  CLOSED  {missing}: acme-server reconcile" for missing in found["closed"]]
    lines += [f"  ALARM  {found['clock']}"] if found["clock"] else []
    counts = ", ".join(f"{count} {state}" for state, count in found["certificates"].items()) or "none yet"
    lines += ["", f"  certificates  {counts}; {found['revocations']} revoked; {found['jobs']} jobs waiting"]
    for each in found["incidents"]:
        lines.append(
            f"  incident {each['id']}  {each['title']}: {each['certificates']} certificates, "
            f"to be renewed by {each['renew_by']}"
        )
    if waiting := found["holds"]["waiting"]:
        since = datetime.fromtimestamp(found["holds"]["oldest"], UTC)
        lines.append(
            f"  holds         {waiting} orders wait for a person, the oldest since "
            f"{since:%Y-%m-%d %H:%M} UTC: acme-server holds list"
        )
    if says := found["problem_reports"]["says"]:
        lines.append(f"  {'ALARM ' if found['problem_reports']['alarm'] else 'reports      '} {says}")
    for crl in found["crls"]:
        lines.append(f"  CRL {crl['scope']:<12} number {crl['number']}, next update {crl['next_update']}")
    if until := found["manifest"]["next_update"]:
        lines.append(f"  manifest      {found['manifest']['sequence']}, next update {until}")
    if alarm := found["manifest"]["alarm"]:
        lines.append(f"  ALARM  {alarm}")
    lines.append(f"  OCSP          {found['ocsp']['says']}")
    if found["ocsp"]["alarm"]:
        lines.append(f"  ALARM  {found['ocsp']['alarm']}")
    for id, state in found["succession"]["issuers"].items():
        lines.append(f"  {'issuer ' + id:<24} {state}")
    lines += [f"  ALARM  {alarm}" for alarm in found["succession"]["alarms"]]
    lines += [f"  ALARM  {alarm}" for alarm in found["revocations_due"]]
    lines += [f"  ALARM  {alarm}" for alarm in (found["redis"]["alarm"], found["bindings_lost"]) if alarm]
    if says := found["redis"]["says"]:
        lines.append(f"  redis         {says}")
    if says := found["documents"]:
        lines.append(f"  {'ALARM ' if found['production'] else 'documents    '} {says}")
    lines += [f"  {line}" for line in found["vault"]["says"]]
    if found["isolated"]:
        lines.append("  isolation     each process is its own system user")
    lines += [f"  WARNING  {sentence}" for sentence in found["coming"]]
    for fault in found["not_conforming"]:
        lines.append(f"  NOT CONFORMING  {fault.removeprefix('not conforming: ')}")
    return "\n".join(lines)


def _unstated(settings: Settings) -> list[str]:
    if settings.repository.manifest_pins or not settings.deployment.production:
        return []
    return [
        "the CP/CPS states no key of the manifest, so nobody can pin one by it: `acme-server repository key` "
        "prints the thumbprint for repository.manifest_pins"
    ]


def _perspectives(settings: Settings, data: DataDirectory, now: int) -> dict[str, Any]:
    """How those on other hosts are.  The app compares their signing keys, as it knows the pinned ones."""
    places = tuple(place for place in settings.validation.perspectives if place.url)

    async def ask() -> list[perspectives.State]:
        to = channels(data, settings, _PATIENCE)
        try:
            return await perspectives.look(to, places, {}, now)
        finally:
            for channel in to.values():
                await channel.close()

    states = asyncio.run(ask()) if places else []
    warning = perspectives.own_warning(places, data, now)
    return {
        "elsewhere": [{**asdict(state), "well": state.well, "says": _says(state)} for state in states],
        "alarms": [warning] if warning else [],
    }


def _says(state: perspectives.State) -> str:
    if not state.well:
        return f"WRONG: {state.wrong}" if state.wrong else f"AWAY: {state.away}"
    return f"well, its certificate ends {datetime.fromtimestamp(state.ends, UTC):%Y-%m-%d}"


def _redis(settings: Settings, data: DataDirectory) -> dict[str, Any]:
    """How Redis is, by our own look at it; both "" where it is not used."""
    if not settings.redis.url:
        return {"says": "", "alarm": ""}
    clock = SystemClock()
    try:
        standing = examine(settings.redis, data.nonces, clock)
    except CaError as error:
        return {"says": "", "alarm": f"{error}; meanwhile what needs a nonce or a limit is answered with 503"}
    return {"says": standing.lately(clock.now()) or "well", "alarm": ""}


def _bindings_lost(settings: Settings, data: DataDirectory, reader: Reader, now: int) -> str:
    """What to do about keys of external accounts whose secret is not there any more."""
    if not _count(reader, "binding_keys"):
        return ""
    try:
        secret = BindingSecret.existing(settings.acme.binding_secret_file, data.bindings)
    except ConfigurationError as error:
        return str(error)
    return bindings.lost(reader, secret.fingerprint if secret else "", now)


def _activation(data: DataDirectory) -> ActivationState | None:
    """What the vault says of itself; None when it does not answer."""

    async def ask() -> ActivationState:
        vault = Vault(data.vault_socket, timeout=_PATIENCE, owner=data.vault)
        try:
            return await vault.activation()
        finally:
            await vault.close()

    try:
        return asyncio.run(ask())
    except CaError:
        return None


def _vault(state: ActivationState | None) -> dict[str, Any]:
    if state is None:
        return {"says": ["The vault does not answer."]}
    return {
        "locked": state.locked,
        "threshold": state.threshold,
        "holders": state.holders,
        "halted": state.halted,
        "says": activation_lines(state),
    }


def _not_conforming(
    data: DataDirectory, pin_file: str, walls: isolation.Isolation, state: ActivationState | None
) -> list[str]:
    faults = []
    if (state is not None and not state.threshold) or _exists(Path(pin_file) if pin_file else data.pin):
        faults.append(NOT_CONFORMING)
    if not walls.on:
        faults.append(f"not isolated: {walls.reason}")
    if not pin_file and _exists(data.pin):
        faults.append(f"the issuing token's PIN lies on the same disk ({data.pin}): set vault.pin_file")
    if _exists(data.vault / "root-pin"):
        faults.append("the root token and its PIN are online: a public CA keeps its root off-line (BR 6.2.8)")
    elif _exists(data.tokens / _ROOT_TOKEN):
        faults.append(
            f"the root token lies on-line ({data.tokens / _ROOT_TOKEN}): bring it to its safe until the "
            "next ceremony"
        )
    return faults


def _untransparent(settings: Settings) -> list[str]:
    if settings.ca.rules is Rules.PUBLIC and settings.ct.mode is CtMode.OFF:
        return ['certificates carry no SCTs, and no browser takes them: set ct.mode = "on"']
    return []


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except PermissionError:
        return False


def _pid(path: Path) -> int | None:
    """The live process that the pid file names, if it is still one of ours."""
    try:
        pid = int(path.read_text())
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (OSError, ValueError):
        return None
    return pid if b"operations.process" in words else None


def _from_database(settings: Settings, data: DataDirectory, now: int) -> dict[str, Any]:
    if not data.database.exists() or not os.access(data.database, os.R_OK):
        return {
            "certificates": {},
            "closed": [],
            "clock": "",
            "revocations": 0,
            "jobs": 0,
            "holds": _NO_HOLDS,
            "problem_reports": _NO_REPORTS,
            "crls": [],
            "incidents": [],
            "bindings_lost": "",
            "revocations_due": [],
            "documents": "",
        }
    reader = Reader(data.database)
    try:
        states = reader.all("SELECT state, COUNT(*) AS n FROM certificates GROUP BY state ORDER BY state")
        latest = reader.all(
            # A number without octets was reserved for a CRL that was never published.
            "SELECT issuer_id, shard, MAX(number) AS number, next_update FROM crls WHERE sha256 != x''"
            " GROUP BY issuer_id, shard ORDER BY issuer_id, shard"
        )
        return {
            "certificates": {row["state"]: row["n"] for row in states},
            "closed": [gap.missing for gap in gaps.are_open(reader)],
            "clock": _clock(reader, now),
            "revocations": _count(reader, "revocations"),
            "jobs": _count(reader, "jobs"),
            "incidents": [
                {
                    "id": each.id,
                    "title": each.title,
                    "certificates": each.total,
                    "renew_by": datetime.fromtimestamp(each.renew_by, UTC).isoformat(" ", "minutes"),
                }
                for each in incidents.newest(reader, _INCIDENTS)
                if each.closed_at is None
            ],
            "bindings_lost": _bindings_lost(settings, data, reader, now),
            "holds": dict(zip(_NO_HOLDS, holds.count(reader), strict=True)),
            "problem_reports": reports.summary(reader, now),
            "revocations_due": [each.says(now) for each in deadlines.urgent(reader, now)],
            "documents": documents(settings, reader, now),
            "revocation_version": revocations.version(reader),
            "crls": [
                {
                    "scope": f"{row['issuer_id']}-{row['shard']}",
                    "number": row["number"],
                    "next_update": datetime.fromtimestamp(row["next_update"], UTC).isoformat(" ", "minutes"),
                }
                for row in latest
            ],
        }
    finally:
        reader.close()


def practice(data: DataDirectory, up: bool) -> str | None:
    """What the running app says, whatever settings this command was given; None when none runs."""
    try:
        return document_calls.list_all(data, _PATIENCE).says
    except CaError as error:
        return f"whether practice and documents agree is not known: {error}" if up else None


def documents(settings: Settings, reader: Reader, now: int) -> str:
    """What these settings do and the documents do not say, or the other way round."""
    try:
        agreement = Agreement(settings, {document: text.drafts(document, settings) for document in Document})
        agreement.read(reader)
    except (CaError, sqlite3.OperationalError) as error:  # a database that no newer app has opened yet
        return str(error)
    return agreement.says(now)


def _clock(reader: Reader, now: int) -> str:
    """What is wrong with the clock; "" when it has passed the last record."""
    row = reader.one("SELECT at FROM audit ORDER BY sequence DESC LIMIT 1")
    behind = 0 if row is None else row["at"] - now
    if behind <= STEP_BACK_TOLERANCE:
        return ""
    return (
        f"the clock is {behind} s behind the last record: nothing is issued until it has passed it. Set it "
        "right, and see that a time service runs; revocations, CRLs and OCSP go on"
    )


def _count(reader: Reader, table: str) -> int:
    row = reader.one(f"SELECT COUNT(*) AS n FROM {table}")
    assert row is not None
    return int(row["n"])
