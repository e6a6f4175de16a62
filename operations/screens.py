"""What the commands show to a person.

Must never: show a secret, or a command that does not work when pasted.
"""

from __future__ import annotations

from core.data_directory import DataDirectory
from core.settings import Rules, Settings
from operations.isolation import Isolation


def certbot_command(settings: Settings, data: DataDirectory, name: str) -> str:
    """A command that obtains a certificate from this CA as any user, leaving /etc/letsencrypt alone."""
    aside = "~/certbot-tryout"
    return " \\\n      ".join(
        (
            f"REQUESTS_CA_BUNDLE={data.trust_anchor} certbot certonly --standalone",
            f"--http-01-port {settings.validation.http_port} --server {settings.acme.base_url}/directory",
            "--non-interactive --agree-tos --register-unsafely-without-email",
            f"--config-dir {aside} --work-dir {aside} --logs-dir {aside} -d {name}",
        )
    )


def running_screen(settings: Settings, data: DataDirectory, isolation: Isolation) -> str:
    """The screen after a start."""
    walls = "each its own system user" if isolation.on else f"not isolated: {isolation.reason}"
    lines = [
        "",
        "  The CA is running.  Ctrl-C stops it.",
        "",
        f"  directory     {settings.acme.base_url}/directory",
        f"  trust anchor  {data.trust_anchor}",
        f"  repository    {settings.repository.base_url}/   (certificates, CRLs, OCSP, CP/CPS)",
        f"  rules         {settings.ca.rules.value}",
        f"  processes     {walls}",
        f"  logs          {data.log}",
    ]
    # Under public rules a local name cannot be certified; the rehearsal's DNS has example.com.
    name = "localhost" if settings.ca.rules is Rules.PRIVATE else "www.example.com"
    if not settings.deployment.production:
        lines += [
            "",
            "  Get a certificate, in another terminal:",
            "",
            f"    {certbot_command(settings, data, name)}",
        ]
    return "\n".join([*lines, ""])
