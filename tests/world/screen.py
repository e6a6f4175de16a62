"""What a person sees: the first screen, the table of names, and what a perspective says of one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from core.evidence import Statement
from core.outcome import Outcome
from tests.world import catalogue, honest, hostile
from tests.world.catalogue import CATALOGUE, Entry
from tests.world.internet import PRIMARY_ONLY, Internet

COMMAND = ".venv/bin/python -m tests.world"
_WIDTH = 38


def first(internet: Internet) -> str:
    """The first screen."""
    primary, *remotes = internet.codes
    lines = ["A hostile Internet of our own.  Nothing leaves this machine; Ctrl-C ends it and cleans up.", ""]
    if internet.namespaces is None:
        lines.append(f"  {PRIMARY_ONLY}")
    else:
        lines += [
            f"  perspectives  {primary} (the primary), {', '.join(remotes)}:",
            "                each a process in a network namespace, with an Unbound of its own",
            "  attacker      has the addresses of the web server and of the name server, too",
        ]
    lines += ["", f"  {'names about':32} {'':>4}  for example"]
    for title, entries in CATALOGUE.items():
        one = entries[0]
        lines.append(f"  {title:32} {len(entries):4}  {one.name} {one.method}: {one.verdict}")
    lines += ["", f"In another terminal, with  {COMMAND}  before each line:"]
    lines += [
        f"  {words:48} {says}" for words, says in _WORDS if internet.namespaces or words not in _AS_ROOT
    ]
    return "\n".join(lines)


_AS_ROOT = (
    "check www.hostile.com --everywhere --attacker",
    "hijack tokyo web",
    "release tokyo web",
    "dns www.example.com CAA",
    "ca DATA",
)
_WORDS = (
    ("names WORD", "the names with WORD in their line, and what to expect"),
    ("check redirect-22.hostile.com", "what the primary says of it; a method may follow"),
    ("check www.hostile.com --everywhere --attacker", "what all say, asked for the attacker's account"),
    ("hijack tokyo web", "lead the primary's packets for the web server astray"),
    ("release tokyo web", "and back; `leaf` is the name server"),
    ("dns www.example.com CAA", "ask the validating resolver at the primary's place"),
    ("ca DATA", "a whole CA in directory DATA, its perspectives at these places"),
)


def names(word: str) -> str:
    """The table of names with `word` in name, method or description."""
    lines: list[str] = []
    for title, entries in CATALOGUE.items():
        found = [each for each in entries if word in f"{each.name} {each.method} {each.verdict} {each.says}"]
        if found:
            lines += [f"\n{title}", *map(_row, found)]
    zones = [zone for zone in (*honest.ZONES, *hostile.ZONES) if word in f"{zone.name} {zone.says}"]
    if zones:
        lines += [
            "\nzones",
            *(f"  {each.name or '.':{_WIDTH}} {each.signing:11} {each.says}" for each in zones),
        ]
    return "\n".join(lines or [f"no name has {word!r} in it"]).lstrip("\n")


def said(statement: Statement, entry: Entry | None) -> str:
    """What one perspective says."""
    control, caa = statement.control, statement.caa
    lines = []
    if entry is not None:
        lines.append(f"{entry.name} by {entry.method}: {entry.says}")
        lines.append(f"expected  {entry.verdict}")
    lines.append(f"verdict   {catalogue.verdict(statement)}")
    if control is not None:
        lines += _part("control", control.result, control.problem, control.detail, control.trace)
    if caa is not None:
        lines += _part(
            "CAA",
            caa.result,
            caa.problem,
            caa.detail or (caa.exempt and f"exempt: {caa.exempt}"),
            (*caa.trace, *caa.records),
        )
    lines.append(f"signed by {statement.perspective}, who took {statement.took} ms")
    return "\n".join(lines)


def agreed(outcome: Outcome) -> str:
    """What all of them amount to."""
    lines = [f"outcome   {outcome.result} {outcome.problem} {outcome.detail}".rstrip()]
    lines.append(f"quorum    control {outcome.control_quorum}, CAA {outcome.caa_quorum}")
    for signed in outcome.statements:
        statement = signed.statement()
        detail = statement.control.detail if statement.control is not None else ""
        lines.append(f"  {statement.perspective:12} {catalogue.verdict(statement):13} {detail[:90]}")
    return "\n".join(lines)


def _part(what: str, result: str, problem: str, detail: str, trace: Sequence[str]) -> Iterable[str]:
    yield f"{what:9} {result} {problem}  {detail}".rstrip()
    yield from (f"    {line}" for line in trace)


def _row(entry: Entry) -> str:
    return f"  {entry.name:{_WIDTH}} {entry.method:12} {entry.verdict:16} {entry.says}"
