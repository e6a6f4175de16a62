"""Relying parties as people have them, and what each of them finds of a certificate.

Each function asks one program about one site and returns "good", "revoked", "expired" or "unknown"; it raises
AssertionError with all that the program said when it said something else.
"""

from __future__ import annotations

import base64
import re
import subprocess
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from tests.relying_parties.site import Site, WebServer
from tests.support.clients import Ran, load, program, run
from tests.world.addresses import free_port

JAVA = Path(__file__).with_name("Ask.java")
PERL = Path(__file__).with_name("ask.pl")

PATH_FIRST = "it checks the signature first"
"""Why a certificate that somebody else signed in the issuer's name is not asked about at all."""


@dataclass(frozen=True, slots=True)
class Party:
    """A relying party; `lacks` says for a state why it cannot be asked about it."""

    name: str
    package: str
    how: str
    ask: Callable[[Site, Path], str]
    lacks: dict[str, str] = field(default_factory=dict)


def openssl_ocsp(site: Site, directory: Path) -> str:
    path = _openssl_path(site, directory)
    if path:
        return path
    words = ["-issuer", site.issuer, "-cert", site.certificate, "-url", site.ocsp_url, "-CAfile", site.root]
    ran = _run(directory, "openssl", "ocsp", *words, "-verify_other", site.issuer, "-text")
    if "Responder Error: unauthorized" in ran.output:
        return "unknown"
    assert "Response verify OK" in ran.output, ran.output
    return _word(ran, r"^/.*: (good|revoked)$")


def openssl_crl(site: Site, directory: Path) -> str:
    return _openssl_path(site, directory, "-crl_check", "-CRLfile", site.crls) or "good"


def openssl_crl_download(site: Site, directory: Path) -> str:
    """It fetches the CRL from the certificate's own CRLDP."""
    return _openssl_path(site, directory, "-crl_check", "-crl_download") or "good"


def curl_crl(site: Site, directory: Path) -> str:
    return _curl(site, directory, site.port, "--crlfile", site.crls)


def curl_apache(site: Site, directory: Path) -> str:
    """Apache staples what it asked the responder; curl demands it."""
    port = free_port()
    modules = ("mpm_event", "authz_core", "socache_shmcb", "ssl")
    configuration = directory / "apache.conf"
    configuration.write_text(
        "".join(f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n" for name in modules)
        + f"ServerRoot {directory}\nPidFile {directory}/apache.pid\nServerName {site.host}\n"
        + f"ErrorLog {directory}/apache.log\nListen 127.0.0.1:{port}\nDocumentRoot {directory}\n"
        + f"SSLUseStapling on\nSSLStaplingCache shmcb:{directory}/stapling(128000)\nSSLEngine on\n"
        + f"SSLCertificateFile {site.chain}\nSSLCertificateKeyFile {site.key}\n"
    )
    server = WebServer([program("apache2"), "-f", str(configuration), "-X"], port, directory)
    try:
        return _curl(site, directory, port, "--cert-status")
    finally:
        server.stop()


def nginx(site: Site, directory: Path) -> str:
    """nginx staples what says good, and nothing else; its first client has to do without."""
    port = free_port()
    configuration, log = directory / "nginx.conf", directory / "nginx.log"
    configuration.write_text(
        f"worker_processes 1; daemon off; pid {directory}/nginx.pid; error_log {log} info; events {{}}\n"
        f"http {{ access_log off; {_temporary(directory)}\n"
        f"ssl_stapling on; ssl_stapling_verify on; ssl_trusted_certificate {site.root};\n"
        f"ssl_stapling_responder {site.ocsp_url};\n"
        f"server {{ listen 127.0.0.1:{port} ssl; server_name {site.host};\n"
        f"ssl_certificate {site.chain}; ssl_certificate_key {site.key}; }} }}\n"
    )
    server = WebServer([program("nginx"), "-p", str(directory), "-c", str(configuration)], port, directory)
    words = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-servername", site.host, "-status"]
    try:
        for _ in range(40):
            ran = run([*words, "-CAfile", str(site.root)], directory)
            if (stapled := _stapled(ran)) is not None:
                return stapled
            said = log.read_text()
            if 'certificate status "revoked" in the OCSP response' in said:
                return "revoked"
        raise AssertionError(ran.output + log.read_text())
    finally:
        server.stop()


def caddy(site: Site, directory: Path) -> str:
    """Go's x/crypto/ocsp, by POST: it staples what says good, and nothing else."""
    port = free_port()
    configuration = directory / "Caddyfile"
    configuration.write_text(
        f"{{\nadmin off\nauto_https off\nskip_install_trust\nstorage file_system {directory}\n}}\n"
        f"https://{site.host}:{port} {{\nbind 127.0.0.1\ntls {site.chain} {site.key}\n}}\n"
    )
    command = ["env", f"XDG_CONFIG_HOME={directory}", program("caddy"), "run", "--adapter", "caddyfile"]
    command += ["--config", str(configuration)]
    server = WebServer(command, port, directory)
    words = ["s_client", "-connect", f"127.0.0.1:{port}", "-servername", site.host, "-status"]
    try:
        ran = _run(directory, "openssl", *words, "-CAfile", site.root)
        if (stapled := _stapled(ran)) is not None:
            return stapled
        raise AssertionError(ran.output)
    finally:
        server.stop()


def nginx_proxy(site: Site, directory: Path) -> str:
    """nginx in front of the site, which it believes only while no CRL names it."""
    port = free_port()
    configuration, log = directory / "proxy.conf", directory / "proxy.log"
    configuration.write_text(
        f"worker_processes 1; daemon off; pid {directory}/proxy.pid; error_log {log} info; events {{}}\n"
        f"http {{ access_log off; {_temporary(directory)}\n"
        f"server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass https://127.0.0.1:{site.port};\n"
        f"proxy_ssl_verify on; proxy_ssl_verify_depth 2; proxy_ssl_trusted_certificate {site.root};\n"
        f"proxy_ssl_crl {site.crls}; proxy_ssl_server_name on; proxy_ssl_name {site.host}; }} }} }}\n"
    )
    server = WebServer([program("nginx"), "-p", str(directory), "-c", str(configuration)], port, directory)
    try:
        ran = _run(directory, "curl", "--silent", "--fail", f"http://127.0.0.1:{port}/")
    finally:
        server.stop()
    if ran.code == 0:
        return "good"
    return _found(
        Ran(ran.code, log.read_text()), "\0", "23:certificate revoked", "10:certificate has expired"
    )


def certbot(site: Site, directory: Path) -> str:
    """`certbot certificates`, which asks OCSP about what lies in its directory."""
    archive, live = (directory / part / site.host for part in ("archive", "live"))
    for made in (archive, live, directory / "renewal"):
        made.mkdir(parents=True)
    files = {"cert": site.certificate, "chain": site.issuer, "fullchain": site.chain, "privkey": site.key}
    for name, file in files.items():
        (archive / f"{name}1.pem").write_bytes(file.read_bytes())
        (live / f"{name}.pem").symlink_to(archive / f"{name}1.pem")
    lines = ["version = 2.1.0", *(f"{name} = {live}/{name}.pem" for name in files)]
    lines += ["[renewalparams]", "authenticator = standalone", ""]
    (directory / "renewal" / f"{site.host}.conf").write_text("\n".join(lines))
    places = {"config": directory, "work": directory / "work", "logs": directory / "logs"}
    own = [f"--{name}-dir={place}" for name, place in places.items()]
    ran = _run(directory, "certbot", "certificates", *own)
    return _found(ran, "(VALID: ", "INVALID: REVOKED", "INVALID: EXPIRED")


def gnutls_ocsptool(site: Site, directory: Path) -> str:
    words = [f"--ask={site.ocsp_url}", "--load-cert", site.certificate, "--load-issuer", site.issuer]
    dates = _run(
        directory, "certtool", "--verify", "--load-ca-certificate", site.root, "--infile", site.chain
    )
    if "certificate chain uses expired" in dates.output:
        return "expired"
    ran = _run(directory, "ocsptool", *words, "--load-trust", site.issuer)
    if "Response Status: unauthorized" in ran.output:
        return "unknown"
    assert "Verifying OCSP Response: Success" in ran.output, ran.output
    return _word(ran, r"Certificate Status: (good|revoked)$")


def gnutls_cli(site: Site, directory: Path) -> str:
    words = ["--ocsp", "--x509cafile", site.root, "--sni-hostname", site.host, "--verify-hostname", site.host]
    ran = _run(directory, "gnutls-cli", *words, "--port", str(site.port), "127.0.0.1")
    if "certificate chain uses expired certificate" in ran.output:
        return "expired"
    if "*** Certificate was revoked" in ran.output:
        return "revoked"
    assert "OCSP server flags certificate not revoked" in ran.output, ran.output
    return "good"


def nss(site: Site, directory: Path) -> str:
    """libpkix, as Firefox once used it and Red Hat's servers do."""
    store = f"sql:{directory}"
    _run(directory, "certutil", "-N", "-d", store, "--empty-password").ok()
    _run(directory, "certutil", "-A", "-d", store, "-n", "root", "-t", "C,,", "-a", "-i", site.root).ok()
    _run(directory, "certutil", "-A", "-d", store, "-n", "issuer", "-t", ",,", "-a", "-i", site.issuer).ok()
    words = ["-d", store, "-u", "1", "-pp", "-g", "leaf", "-m", "ocsp", "-s", "failIfNoInfo", "-a"]
    ran = _run(directory, "vfychain", *words, site.certificate)
    return _found(ran, "Chain is good!", "has been revoked", "has expired")


def java(how: str) -> Callable[[Site, Path], str]:
    """PKIX by OCSP alone, or by CRL alone."""

    def ask(site: Site, directory: Path) -> str:
        option = "-Dcom.sun.security.enableCRLDP=true"
        ran = _run(directory, "java", option, JAVA, how, site.root, site.chain)
        return _found(ran, "good", "REVOKED", "EXPIRED")

    return ask


def perl(site: Site, directory: Path) -> str:
    """IO::Socket::SSL with SSL_OCSP_FULL_CHAIN; it asks for the same certificate twice in one request."""
    ran = _run(directory, "perl", PERL, site.root, str(site.port), site.host)
    return _found(ran, "good", "revoked", "certificate verify failed")


def stunnel(site: Site, directory: Path) -> str:
    port = free_port()
    configuration = directory / "stunnel.conf"
    configuration.write_text(
        f"foreground = yes\npid =\n[client]\nclient = yes\naccept = 127.0.0.1:{port}\n"
        f"connect = 127.0.0.1:{site.port}\nCAfile = {site.root}\nverifyChain = yes\n"
        f"checkHost = {site.host}\nOCSPaia = yes\n"
    )
    log = directory / "stunnel.log"
    with log.open("wb") as output:
        process = subprocess.Popen([program("stunnel4"), configuration], stdout=output, stderr=output)
    try:
        ran = _run(
            *(directory, "curl", "--silent", "--retry", "20", "--retry-connrefused", "--retry-delay", "1"),
            *("--max-time", "10", f"http://127.0.0.1:{port}/"),
        )
    finally:
        process.kill()
        process.wait()
    said = Ran(ran.code, log.read_text())
    return _found(said, "OCSP: Certificate accepted", "OCSP: Certificate revoked", "certificate has expired")


def cryptography_ocsp(form: str, algorithm: hashes.HashAlgorithm) -> Callable[[Site, Path], str]:
    """Python's library, by "POST" or "GET", with a CertID of this hash."""

    def ask(site: Site, directory: Path) -> str:
        certificate, issuer = load(site.certificate), load(site.issuer)
        if not _in_time(site):
            return "expired"
        builder = ocsp.OCSPRequestBuilder().add_certificate(certificate, issuer, algorithm)
        response = ocsp.load_der_ocsp_response(_fetch(site.ocsp_url, builder.build(), form))
        if response.response_status is ocsp.OCSPResponseStatus.UNAUTHORIZED:
            return "unknown"
        (responder,) = response.certificates
        responder.verify_directly_issued_by(issuer)
        key, algorithm_signed = responder.public_key(), response.signature_hash_algorithm
        assert isinstance(key, ec.EllipticCurvePublicKey)
        assert algorithm_signed is not None
        key.verify(response.signature, response.tbs_response_bytes, ec.ECDSA(algorithm_signed))
        assert response.serial_number == certificate.serial_number
        return response.certificate_status.name.lower()

    return ask


def _fetch(url: str, request: ocsp.OCSPRequest, form: str) -> bytes:
    der = request.public_bytes(Encoding.DER)
    if form == "GET":
        asked = urllib.request.Request(f"{url}/{quote(base64.b64encode(der).decode(), safe='')}")
    else:
        asked = urllib.request.Request(url, der, {"Content-Type": "application/ocsp-request"})
    with urllib.request.urlopen(asked, timeout=10) as answer:
        octets: bytes = answer.read()
    return octets


def _in_time(site: Site) -> bool:
    """Whether the chain verifies now.  Raises VerificationError when it would not even while it was valid."""
    chain = x509.load_pem_x509_certificates(site.chain.read_bytes())
    builder = PolicyBuilder().store(Store([load(site.root)]))

    def verify(at: datetime) -> None:
        builder.time(at).build_server_verifier(x509.DNSName(site.host)).verify(chain[0], chain[1:])

    verify(chain[0].not_valid_before_utc)
    try:
        verify(datetime.now(UTC))
    except VerificationError:
        return False
    return True


def _openssl_path(site: Site, directory: Path, *options: str | Path) -> str:
    """What `openssl verify` holds against the certificate; "" when nothing."""
    words = ["verify", *options, "-CAfile", site.root, "-untrusted", site.issuer]
    ran = _run(directory, "openssl", *words, site.certificate)
    if site.port == 0 and "certificate signature failure" in ran.output:
        return ""
    return _found(ran, ": OK", "certificate revoked", "certificate has expired").replace("good", "")


def _curl(site: Site, directory: Path, port: int, *options: str | Path) -> str:
    words = ["--silent", "--show-error", "--output", "page", "--cacert", site.root, *options]
    there = ["--connect-to", f"{site.host}:443:127.0.0.1:{port}", f"https://{site.host}/"]
    ran = _run(directory, "curl", *words, *there)
    if ran.code == 0:
        return "good"
    return _found(ran, "\0", "revocation reason", "has expired", "certificate revoked")


def _found(ran: Ran, good: str, revoked: str, expired: str, also_revoked: str = "\0") -> str:
    words = {"expired": expired, "revoked": revoked, "good": good}
    for state, word in words.items():
        if word in ran.output or (state == "revoked" and also_revoked in ran.output):
            return state
    raise AssertionError(ran.output)


def _stapled(ran: Ran) -> str | None:
    """What `openssl s_client -status` found; None when nothing was stapled yet."""
    if "Verify return code: 10" in ran.output:
        return "expired"
    if "OCSP Response Status: successful" in ran.output:
        return _word(ran, r"Cert Status: (good|revoked)$")
    return None


def _temporary(directory: Path) -> str:
    """Where nginx puts what it buffers: its own places are root's."""
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    return "\n".join(f"{kind}_temp_path {directory}/{kind};" for kind in kinds)


def _word(ran: Ran, pattern: str) -> str:
    found = re.search(pattern, ran.output, re.MULTILINE)
    assert found is not None, ran.output
    return found.group(1)


def _run(directory: Path, command: str, *words: str | Path) -> Ran:
    return run([program(command), *map(str, words)], directory, 30)


_NO_SERVER = {"unknown": "nobody has the key of such a certificate, so no server shows it"}
_NO_PATH = {"unknown": PATH_FIRST}
_SILENT = {"revoked": "it staples what says good, and says nothing of the rest"}

PARTIES = (
    Party("OpenSSL", "openssl", "`verify`, then `ocsp` by POST", openssl_ocsp),
    Party("OpenSSL", "openssl", "`verify -crl_check` with files", openssl_crl, _NO_PATH),
    Party("OpenSSL", "openssl", "`verify -crl_download`", openssl_crl_download, _NO_PATH),
    Party("curl", "curl", "`--crlfile`", curl_crl, _NO_SERVER),
    Party("Apache and curl", "apache2-bin", "stapling, and `--cert-status`", curl_apache, _NO_SERVER),
    Party("nginx", "nginx-light", "stapling by GET", nginx, _NO_SERVER),
    Party("nginx", "nginx-light", "`proxy_ssl_crl`", nginx_proxy, _NO_SERVER),
    Party("Caddy", "caddy", "stapling by POST (Go)", caddy, _NO_SERVER | _SILENT),
    Party("certbot", "certbot", "`certificates`", certbot, _NO_PATH),
    Party("GnuTLS", "gnutls-bin", "`certtool --verify`, then `ocsptool` by POST", gnutls_ocsptool),
    Party("GnuTLS", "gnutls-bin", "`gnutls-cli --ocsp`", gnutls_cli, _NO_SERVER),
    Party("NSS", "libnss3-tools", "`vfychain -m ocsp`", nss, _NO_PATH),
    Party("Java", "openjdk-17-jdk-headless", "PKIX by OCSP alone", java("ocsp"), _NO_PATH),
    Party("Java", "openjdk-17-jdk-headless", "PKIX by CRL alone", java("crl"), _NO_PATH),
    Party("Perl", "libio-socket-ssl-perl", "IO::Socket::SSL, full chain", perl, _NO_SERVER),
    Party("stunnel", "stunnel4", "`OCSPaia`", stunnel, _NO_SERVER),
    Party("Python", "cryptography", "POST, SHA-1", cryptography_ocsp("POST", hashes.SHA1())),
    Party("Python", "cryptography", "GET, SHA-256", cryptography_ocsp("GET", hashes.SHA256())),
)
"""In the order of the table in docs/relying-parties.md."""
