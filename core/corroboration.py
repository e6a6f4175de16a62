"""Whether the perspectives of the settings can corroborate at all, under the rules of a date: pure.

Enough remote ones, each far from all others, in enough RIR regions, and none of the regions so large that a
quorum could come from it alone.  Codes and coordinates are what the operator declares.

BR 3.2.2.9.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from itertools import combinations

from core.errors import ConfigurationError
from core.quorum import REGIONS, may_fail
from core.requirements import Limit, limit, row
from core.settings import Perspective

EARTH_KM = 6371.0

_KEY = "validation.perspectives"


def check(perspectives: Sequence[Perspective], at: int) -> None:
    """Require it at `at` (POSIX seconds); the first of `perspectives` is the primary.

    Raises `ConfigurationError` with the remedy.
    """
    _, *remotes = perspectives
    least = row(Limit.REMOTE_PERSPECTIVES, at)
    if len(remotes) < least.value:
        raise ConfigurationError(
            f"{_KEY} = {len(remotes)} remote: {least.clause} asks for {least.value} beside the primary"
        )
    for each in perspectives:
        if each.region not in REGIONS:
            raise ConfigurationError(
                f"{_KEY}.region = {each.region}: use one of {', '.join(sorted(REGIONS))}"
            )
    _check_regions(remotes, at)
    for one, other in combinations(perspectives, 2):
        apart, least_km = kilometres(one, other), limit(Limit.PERSPECTIVE_DISTANCE, at)
        if apart < least_km:
            raise ConfigurationError(
                f"{_KEY} = {one.code} and {other.code}: they are {apart:.0f} km apart and BR 3.2.2.9 asks "
                f"for {least_km} km"
            )


def _check_regions(remotes: Sequence[Perspective], at: int) -> None:
    wanted = limit(Limit.REGIONS, at)
    if wanted < 2:
        return
    regions = Counter(each.region for each in remotes)
    if len(regions) < wanted:
        raise ConfigurationError(f"{_KEY} = {remotes[0].region}: BR 3.2.2.9 asks for {wanted} RIR regions")
    largest, count = regions.most_common(1)[0]
    if count >= len(remotes) - may_fail(len(remotes)):
        # Its corroboration alone would be thrown away each time, and hide that all others are away.
        raise ConfigurationError(
            f"{_KEY} = {count} of {len(remotes)} remotes in {largest}: that is a quorum by itself, and BR "
            "3.2.2.9 wants it from two RIR regions: move one elsewhere"
        )


def kilometres(one: Perspective, other: Perspective) -> float:
    """The great-circle distance (haversine)."""
    phi1, phi2 = math.radians(one.latitude), math.radians(other.latitude)
    half = math.sin((phi2 - phi1) / 2) ** 2
    half += math.cos(phi1) * math.cos(phi2) * math.sin(math.radians(other.longitude - one.longitude) / 2) ** 2
    return 2 * EARTH_KM * math.asin(math.sqrt(min(1.0, half)))
