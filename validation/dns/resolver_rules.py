"""Holds the configuration of a resolver against what public rules ask: nothing in it may loosen validation.

The effective values come from `unbound-checkconf -o`, Unbound's own reading of the file and of all that it
includes.  Clauses of which it prints nothing (local data, views, zones from files) are sought in the text:
a word too many is refused, none is overlooked.

BR 3.2.2.4 and 3.2.2.8.1: no local policy may disable DNSSEC validation; RFC 7646 (negative trust anchors).
"""

from __future__ import annotations

import glob
import re
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

from core.errors import ConfigurationError
from validation.dns import anchors
from validation.dns.resolver import Upstream
from validation.dns.unbound import AT_MOST, BINDING

FORBIDDEN = {
    "local-data": "it answers in the zone's place",
    "local-data-ptr": "it answers in the zone's place",
    "local-zone": "it answers in the zone's place",
    "auth-zone": "what it serves is not validated",
    "rpz": "it answers in the zone's place",
    "view": "it gives some clients other answers",
    "response-ip": "it changes answers",
    "response-ip-data": "it changes answers",
    "access-control-tag-data": "it changes answers",
    "python": "a program can change answers",
    "dynlib": "a program can change answers",
    "fake-sha1": "a test's option: every signature by RSA with SHA-1 is good",
    "fake-dsa": "a test's option: every signature by DSA is good",
    "control-use-cert": "by unbound-control anybody on the machine could loosen what was examined",
    "dlv-anchor": "validation ends at the root (RFC 8749)",
    "dlv-anchor-file": "validation ends at the root (RFC 8749)",
}
"""Clauses and options that no public rules leave room for, and why."""

ANCHOR_OPTIONS = ("trust-anchor-file", "auto-trust-anchor-file", "trust-anchor")

REMEDY = "take it out; `acme-server resolver-config` prints a configuration that public rules take"

_TIMEOUT = 10
_INCLUDES = 32
"""Files that a configuration may be made of."""

_WORD = re.compile(rf"(?<![\w-])({'|'.join(FORBIDDEN)}):")
_STUB = re.compile(r"(?<![\w-])stub-zone:")
_FORWARD = re.compile(r"(?<![\w-])forward-zone:")
_NAME = re.compile(r"(?<![\w-])name:\s*[\"']?([^\"'\s]*)")
_INCLUDE = re.compile(r"(?<![\w-])include(?:-toplevel)?:\s*[\"']?([^\"'\s]*)")


class Unreadable(ConfigurationError):
    """A configuration that no Unbound starts with, whatever the rules are."""


def examine(file: Path, setting: str, checkconf: Path, *, production: bool) -> None:
    """Require that `file`, which `setting` answers for, loosens nothing.  `checkconf` is Unbound's program.

    Raises `ConfigurationError` with the option and the remedy.
    """
    text = "\n".join(_texts(file, setting))
    if found := _WORD.search(text):
        raise _refused(setting, found[0], FORBIDDEN[found[1]])
    for name, only in BINDING.items():
        value = _effective(checkconf, file, name)
        if value != only:
            raise _refused(setting, f"{name}: {value or 'nothing'}", f"it must be {only or 'absent'}")
    for name, most in AT_MOST.items():
        value = _effective(checkconf, file, name)
        if not value.isdecimal() or int(value) > most:
            raise _refused(setting, f"{name}: {value}", f"at most {most}")
    trusted = tuple(_anchors(checkconf, file))
    if not trusted:
        raise _refused(setting, "trust-anchor-file", "without a trust anchor nothing is validated")
    if production:
        anchors.require_root(trusted, str(file))
        _public_tree(text, setting)


def require_listening(file: Path, upstreams: Iterable[Upstream], checkconf: Path) -> None:
    """Require that `file` configures the resolver that is asked.  Raises `ConfigurationError`."""
    port = _effective(checkconf, file, "port")
    listed = _effective(checkconf, file, "interface").splitlines() or ["127.0.0.1", "::1"]
    interfaces = {one if "@" in one else f"{one}@{port}" for one in listed}
    for upstream in upstreams:
        if interfaces.isdisjoint(
            f"{host}@{upstream.port}" for host in (upstream.host, "0.0.0.0", "::0", "::")
        ):
            raise ConfigurationError(
                f"validation.resolvers: {upstream} is not where {file} listens "
                f"({', '.join(sorted(interfaces))}); name the file of the resolver that is asked "
                "as validation.resolver_config"
            )


def _public_tree(text: str, setting: str) -> None:
    """Every name of the public tree is asked of its own servers, or all of them of one forwarder."""
    if _STUB.search(text):
        raise _refused(setting, "stub-zone:", "a public name is asked of its own name servers")
    for clause in _FORWARD.split(text)[1:]:
        name = _NAME.search(clause)
        if name is None or name[1] != ".":
            raise _refused(
                setting, "forward-zone:", 'a forwarder is asked for all names (name: ".") or for none'
            )


def _texts(file: Path, setting: str) -> Iterator[str]:
    """The text of `file` and of what it includes, without its comment lines."""
    waiting, seen = [file], 0
    while waiting:
        each, seen = waiting.pop(), seen + 1
        if seen > _INCLUDES:
            raise ConfigurationError(
                f"{setting}: {file} includes more than {_INCLUDES} files; put them together"
            )
        try:
            # Other octets than ASCII stand in comments; they hide no word.
            text = each.read_bytes().decode("latin-1")
        except OSError as error:
            raise Unreadable(f"cannot read {each} ({error.strerror}); mend it") from error
        # Only whole lines count as comments: a "#" elsewhere may stand within quotes.
        # And lines end where Unbound ends them: Python has more ends, and "a\v# option: b" is no comment.
        text = "\n".join(line for line in text.split("\n") if not line.lstrip(" \t").startswith("#"))
        yield text
        for included in _INCLUDE.findall(text):
            if not included.startswith("/"):
                raise ConfigurationError(f"{setting}: {each} includes {included!r}; write its whole path")
            waiting += map(Path, sorted(glob.glob(included)))


def _anchors(checkconf: Path, file: Path) -> Iterator[str]:
    base = Path(_effective(checkconf, file, "directory") or "/")
    for option in ANCHOR_OPTIONS:
        for value in _effective(checkconf, file, option).splitlines():
            if option == "trust-anchor":
                yield from anchors.parse(value, str(file))
            else:
                yield from anchors.read(base / value)


def _effective(checkconf: Path, file: Path, option: str) -> str:
    command = [str(checkconf), "-o", option, str(file)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_TIMEOUT)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigurationError(f"cannot run {checkconf} ({error}); it comes with Unbound") from error
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()
        why = said[0].rpartition("error: ")[2] if said else "it does not say why"
        raise Unreadable(f"Unbound cannot read {file}: {why}; mend it")
    return done.stdout.strip()


def _refused(setting: str, what: str, why: str) -> ConfigurationError:
    return ConfigurationError(f"{setting}: {what} (under public rules: {why}); {REMEDY}")
