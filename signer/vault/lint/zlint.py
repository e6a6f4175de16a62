"""zlint beside pkilint, where the operator has it: a second opinion from other people's code.

A program of its own, run in the lint worker's world: it gets the certificate on its standard input, and no
environment and no token.  What it calls error or fatal refuses as pkilint's findings do; so does a
zlint that cannot be run, ends badly, takes too long or says what is not JSON.

It costs a process and tens of milliseconds of CPU for each certificate.

BR 4.3.1.2; docs/adr/0011.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import msgspec

from core.errors import ConfigurationError
from signer.vault.lint.worker import Finding, Kind

KINDS = frozenset({Kind.LEAF, Kind.PRECERTIFICATE, Kind.ROOT, Kind.ISSUING, Kind.CROSS, Kind.OCSP_RESPONDER})
"""What it is asked about: the certificates that the Baseline Requirements bind."""

_SEVERITIES = {"warn": "warning", "error": "error", "fatal": "fatal"}
"""zlint's results that are findings.  "info" is no more than that; "pass", "NA" and "NE" are none."""

_RESULTS = frozenset({*_SEVERITIES, "pass", "NA", "NE", "info", "notice"})
_ONE_CORE = {"GOMAXPROCS": "1"}
START_SECONDS = 10
"""To say its version."""


class _Result(msgspec.Struct):
    result: str
    details: str = ""


_results = msgspec.json.Decoder(dict[str, _Result])


def version(path: str) -> str:
    """Its own word for its version.  Raises `ConfigurationError` when it cannot be run."""
    try:
        told = subprocess.run(
            [path, "-version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env={},
            timeout=START_SECONDS,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise ConfigurationError(f"vault.zlint: {path} cannot be run: {error}") from error
    words = (told.stdout + told.stderr).decode("ascii", "replace").strip().splitlines()[:1]
    if told.returncode or not words or not Path(path).is_absolute():
        raise ConfigurationError(f"vault.zlint: {path} is no zlint, or not named by its whole path")
    return words[0].replace("ZLint version ", "zlint ")[:60]


def findings(path: str, certificate: bytes, time_limit: float) -> list[Finding]:
    """What it finds in a DER certificate within `time_limit` seconds; a crash is a FATAL finding."""
    try:
        told = subprocess.run(
            [path, "-format", "der", "-"],
            input=certificate,
            capture_output=True,
            env=_ONE_CORE,
            timeout=time_limit,
            check=True,
        ).stdout
        results = _results.decode(told)
    except (OSError, subprocess.SubprocessError, msgspec.MsgspecError) as error:
        return [Finding("fatal", "zlint.crashed", str(error))]
    unknown = {each.result for each in results.values()} - _RESULTS
    if unknown or not results:
        return [Finding("fatal", "zlint.unknown_result", f"{sorted(unknown)} in {len(results)} results")]
    return [
        Finding(_SEVERITIES[each.result], f"zlint.{name}", each.details)
        for name, each in results.items()
        if each.result in _SEVERITIES
    ]
