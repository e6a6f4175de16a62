"""The systemd units of deploy/: what was found when they ran under systemd (Debian 12), which CI has not."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

DEPLOY = Path(__file__).parents[2] / "deploy"
UNIT = (DEPLOY / "acme-server.service").read_text()


def settings(name: str) -> list[str]:
    """All values of a setting of the CA's unit."""
    return re.findall(rf"^{name}=(.*)$", UNIT, re.MULTILINE)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
@pytest.mark.parametrize("unit", sorted(DEPLOY.glob("*.service")), ids=lambda path: path.name)
def test_systemd_has_nothing_against_the_units(unit: Path, tmp_path: Path) -> None:
    named = tmp_path / unit.name.replace("@", "@tokyo")
    named.write_text(unit.read_text().replace("/opt/acme-server/.venv/bin/acme-server", "/bin/true"))
    ran = subprocess.run(
        ["systemd-analyze", "verify", named], capture_output=True, text=True, timeout=60, check=False
    )
    assert (ran.returncode, ran.stdout + ran.stderr) == (0, "")


def test_the_data_are_no_state_directory() -> None:
    """systemd would give all of them to root at each start, and the app cannot write its access log then."""
    assert settings("StateDirectory") == []
    assert settings("ReadWritePaths") == ["-/var/lib/acme-server"]


def test_the_kernel_may_be_asked_for_the_clock() -> None:
    """Production is refused otherwise; ProtectClock= forbids it, and @system-service does not have it."""
    assert settings("ProtectClock") == []
    [allowed] = settings("SystemCallFilter")
    assert {"adjtimex", "clock_adjtime"} < set(allowed.split())
    [capabilities] = settings("CapabilityBoundingSet")
    assert "CAP_SYS_TIME" not in capabilities
