"""Whether enough perspectives saw the same (multi-perspective issuance corroboration).

Pure arithmetic on codes and regions, so that the validation room, which collects the views, and the vault,
which trusts nobody, ask the very same function.  The primary's own view is no matter of quorum: it must pass.

Must never: read a clock, or take a quorum from a caller: the rule follows from the date alone.

BR 3.2.2.9.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from core.errors import Refused
from core.requirements import Limit, limit
from core.settings import Rules

REGIONS = frozenset({"ARIN", "RIPE NCC", "APNIC", "LACNIC", "AFRINIC"})
"""The Regional Internet Registries, as Open MPIC spells them."""

ONE_MAY_FAIL_FROM = 2
TWO_MAY_FAIL_FROM = 6
"""BR 3.2.2.9, the table of quorum requirements: of 2-5 remotes used one may fail, of 6 or more two."""


def check(
    rules: Rules,
    primary: str,
    remotes: Sequence[tuple[str, str]],
    corroborating: Collection[str],
    at: int,
) -> None:
    """Require the quorum that binds at `at` (POSIX seconds).

    `primary` is the code of the primary perspective, `remotes` (code, RIR region) of every remote one that
    was used in the attempt, whatever it answered, and `corroborating` the codes of those that agreed with
    the primary.  Under private rules every perspective that is listed must agree.

    Raises: `Refused` with a `quorum.*` code.
    """
    codes = [code for code, _ in remotes]
    if len(set(codes)) != len(codes) or primary in codes:
        raise Refused("quorum.duplicate", "a perspective was counted twice: give each its own code")
    agreed = [(code, region) for code, region in remotes if code in corroborating]
    strangers = set(corroborating) - set(codes) - {primary}
    if strangers:
        raise Refused("quorum.stranger", f"{', '.join(sorted(strangers))} took no part in the attempt")
    tally = f"{len(agreed)}/{len(remotes)}"
    if rules is Rules.PRIVATE:
        if len(agreed) < len(remotes):
            raise Refused("quorum.not-met", f"{tally} remote perspectives corroborated, all must")
        return
    _check_public(agreed, len(remotes), tally, at)


def may_fail(used: int) -> int:
    """How many of `used` remote perspectives may fail to corroborate (BR 3.2.2.9, the table)."""
    if used < ONE_MAY_FAIL_FROM:
        return 0
    return 1 if used < TWO_MAY_FAIL_FROM else 2


def _check_public(agreed: Sequence[tuple[str, str]], used: int, tally: str, at: int) -> None:
    least = limit(Limit.REMOTE_PERSPECTIVES, at)
    if used < least:
        raise Refused(
            "quorum.too-few",
            f"{used} remote perspectives were used and {least} are needed today: "
            "add some to validation.perspectives",
        )
    if len(agreed) < used - may_fail(used):
        raise Refused(
            "quorum.not-met", f"{tally} remote perspectives corroborated, {may_fail(used)} may fail"
        )
    regions = {region for _, region in agreed}
    unknown = regions - REGIONS
    if unknown:
        raise Refused(
            "quorum.region", f"{', '.join(sorted(unknown))} is no RIR: use {', '.join(sorted(REGIONS))}"
        )
    if len(regions) < limit(Limit.REGIONS, at):
        raise Refused(
            "quorum.regions",
            f"{tally} remote perspectives corroborated, all of them in {', '.join(regions)}: "
            f"{limit(Limit.REGIONS, at)} RIR regions are needed",
        )
