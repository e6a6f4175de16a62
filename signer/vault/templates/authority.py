"""An issuing CA as the templates need it: name, key id, algorithm and URLs, read once from its certificate.

RFC 5280 sections 4.1.2.4 (the issuer name is the subject of the issuer, octet for octet) and 4.2.1.1.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from core import der
from signer.vault.tokens import algorithms


@dataclass(frozen=True, slots=True)
class Issuer:
    """`name` is the DER subject of the issuer's certificate, `key_id` its subjectKeyIdentifier, `key_bits`
    the octets of its public key's BIT STRING (RFC 6960 CertID); `not_before` and `not_after` in
    POSIX seconds.  `client_auth` tells whether what it signs may be a client's: relying parties take the
    extKeyUsage of a CA for a limit of all below it.

    `crl_url_template` holds "{shard}".
    """

    id: str
    certificate: bytes
    name: bytes
    key_id: bytes
    key_bits: bytes
    not_before: int
    not_after: int
    client_auth: bool
    algorithm: algorithms.SignatureAlgorithm
    ocsp_url: str
    ca_issuers_url: str
    crl_url_template: str
    public_key: algorithms.PublicKey = field(compare=False)

    @classmethod
    def from_certificate(
        cls, id: str, certificate_der: bytes, *, ocsp_url: str, ca_issuers_url: str, crl_url_template: str
    ) -> Issuer:
        """Read a CA certificate.  Raises ValueError when it is not one that can issue."""
        certificate = x509.load_der_x509_certificate(certificate_der)
        public_key = certificate.public_key()
        algorithm = algorithms.for_key(public_key)
        extensions = certificate.extensions
        if not extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            raise ValueError(f"the certificate of issuer {id} is not a CA's")
        fields = [*der.elements(der.only(certificate.tbs_certificate_bytes, der.SEQUENCE).content)]
        subject, key_info = fields[5].encoding, fields[6].content
        return cls(
            id=id,
            certificate=certificate_der,
            name=subject,
            key_id=extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest,
            key_bits=[*der.elements(key_info)][1].content[1:],
            not_before=int(certificate.not_valid_before_utc.timestamp()),
            not_after=int(certificate.not_valid_after_utc.timestamp()),
            client_auth=_may_certify_clients(extensions),
            algorithm=algorithm,
            ocsp_url=ocsp_url,
            ca_issuers_url=ca_issuers_url,
            crl_url_template=crl_url_template,
            public_key=public_key,  # type: ignore[arg-type]  # for_key raised for every other kind
        )

    def crl_url(self, shard: int) -> str:
        """Where the CRL of `shard` is published; what a certificate of that shard carries in its CRLDP."""
        return self.crl_url_template.replace("{shard}", str(shard))

    def name_hash(self, hash_name: str) -> bytes:
        """CertID issuerNameHash (RFC 6960 section 4.1.1); `hash_name` "sha1" or "sha256"."""
        return hashlib.new(hash_name, self.name).digest()

    def key_hash(self, hash_name: str) -> bytes:
        """CertID issuerKeyHash: over the BIT STRING's octets, without tag, length and unused bits."""
        return hashlib.new(hash_name, self.key_bits).digest()


def _may_certify_clients(extensions: x509.Extensions) -> bool:
    try:
        uses = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return True
    return ExtendedKeyUsageOID.CLIENT_AUTH in uses
