"""signer/vault/lint/zlint.py: a second linter counts, and one that fails refuses."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from core import checks
from core.errors import ConfigurationError, Refused
from core.settings import Ca, Rules, Settings, Vault
from signer.vault.lint import zlint as lint_zlint
from signer.vault.lint.pool import Kind, LintPool
from tests.signer.vault.lint.test_pool import CA, crl_der, leaf_der, responder

Program = Callable[[str], str]


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """A shell script that says its version, and otherwise does what it is given."""

    def made(script: str) -> str:
        path = tmp_path / "zlint"
        path.write_text(f'#!/bin/sh\n[ "$1" = -version ] && echo "ZLint version 3" && exit\n{script}\n')
        path.chmod(0o755)
        return str(path)

    return made


def said(program: Program, results: str) -> list[lint_zlint.Finding]:
    return lint_zlint.findings(program(f"cat > /dev/null; echo '{results}'"), b"", 10)


def test_errors_and_warnings_are_findings_and_the_rest_is_not(program: Program) -> None:
    results = (
        '{"e_x": {"result": "error", "details": "bad"}, "w_y": {"result": "warn"}, "n_z": {"result": "info"},'
    )
    results += ' "e_f": {"result": "fatal"}, "e_p": {"result": "pass"}, "e_n": {"result": "NA"}}'
    assert said(program, results) == [
        ("error", "zlint.e_x", "bad"),
        ("warning", "zlint.w_y", ""),
        ("fatal", "zlint.e_f", ""),
    ]


@pytest.mark.clause("BR 4.3.1.2")
@pytest.mark.parametrize(
    "script",
    [
        "exit 1",
        "kill -9 $$",
        "echo nonsense",
        "echo '[]'",
        "echo '{}'",
        "sleep 60",
        """echo '{"e_x": {"result": "odd"}}'""",
    ],
)
def test_a_zlint_that_fails_is_a_fatal_finding(program: Program, script: str) -> None:
    [finding] = lint_zlint.findings(program(script), b"", 0.5)
    assert finding.severity == "fatal"


def test_a_zlint_that_went_away_is_a_fatal_finding() -> None:
    [finding] = lint_zlint.findings("/nowhere/zlint", b"", 5)
    assert (finding.severity, finding.code) == ("fatal", "zlint.crashed")


def test_it_gets_the_certificate_and_no_environment(program: Program, tmp_path: Path) -> None:
    path = program(f"cat > {tmp_path}/got; /usr/bin/env > {tmp_path}/env; echo nothing")
    lint_zlint.findings(path, b"\x30\x00octets", 10)
    assert (tmp_path / "got").read_bytes() == b"\x30\x00octets"
    names = {line.split("=")[0] for line in (tmp_path / "env").read_text().splitlines()}
    assert names <= {"GOMAXPROCS", "PWD", "SHLVL", "_", "OLDPWD"}


async def test_its_version_is_recorded_and_its_errors_refuse(program: Program) -> None:
    path = program("""cat > /dev/null; echo '{"e_x": {"result": "error"}}'""")
    pool = LintPool(1, Rules.PUBLIC, zlint=path)
    assert pool.linters[-1] == "zlint 3"
    pool.start()
    try:
        with pytest.raises(Refused, match=r"lint\.zlint\.e_x"):
            await pool.lint(leaf_der(Rules.PUBLIC), Kind.LEAF)
        await pool.lint(crl_der(1), Kind.CRL)
    finally:
        pool.close()


def test_what_is_no_zlint_does_not_start(program: Program, tmp_path: Path) -> None:
    silent = tmp_path / "silent"
    silent.write_text("#!/bin/sh\nexit 0\n")
    silent.chmod(0o755)
    for path in ("/nowhere/zlint", str(silent), str(tmp_path)):
        with pytest.raises(ConfigurationError, match=r"vault\.zlint"):
            LintPool(1, Rules.PUBLIC, zlint=path)


def test_under_private_rules_it_is_refused() -> None:
    settings = Settings(ca=Ca(rules=Rules.PRIVATE), vault=Vault(zlint="/usr/bin/zlint"))
    with pytest.raises(ConfigurationError, match=r"vault\.zlint"):
        checks.undated(settings)


@pytest.mark.skipif(shutil.which("zlint") is None, reason="zlint is not installed here")
def test_the_real_one_finds_no_error_in_what_we_make() -> None:
    path = shutil.which("zlint")
    assert path is not None
    assert lint_zlint.version(path).startswith("zlint ")
    for octets in (leaf_der(Rules.PUBLIC), CA.root, CA.certificate, responder()):
        found = lint_zlint.findings(path, octets, 20)
        assert [finding for finding in found if finding.severity != "warning"] == []
    wrong = leaf_der(Rules.PUBLIC, names=("a_b.acme-shop.com",))
    assert any(finding.severity == "error" for finding in lint_zlint.findings(path, wrong, 20))
