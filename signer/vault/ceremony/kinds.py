"""The kinds of step that a ceremony knows.  A new kind is a class in a file of its own, and a line here."""

from __future__ import annotations

from signer.vault.ceremony.certificate_steps import (
    IssuingCertificate,
    LocalServiceCertificate,
    RootCertificate,
)
from signer.vault.ceremony.copy_steps import Backup, Restore
from signer.vault.ceremony.crl_steps import RevokeIssuer, RootCrl
from signer.vault.ceremony.cross_steps import AddCrossCertificate, CrossCertificate
from signer.vault.ceremony.destroy_step import Destroy
from signer.vault.ceremony.key_steps import GenerateKey, MakeToken
from signer.vault.ceremony.responder_step import ResponderCertificate
from signer.vault.ceremony.schedule_step import ScheduleIssuer
from signer.vault.ceremony.seal_steps import PinPerspectives, RetireIssuer, Seal
from signer.vault.ceremony.second_token_step import WrappedBackup
from signer.vault.ceremony.step import StepKind

KINDS: dict[str, StepKind] = {
    kind.KIND: kind
    for kind in (
        MakeToken,
        GenerateKey,
        RootCertificate,
        IssuingCertificate,
        LocalServiceCertificate,
        ResponderCertificate,
        CrossCertificate,
        AddCrossCertificate,
        RootCrl,
        PinPerspectives,
        ScheduleIssuer,
        RetireIssuer,
        RevokeIssuer,
        Backup,
        WrappedBackup,
        Restore,
        Destroy,
        Seal,
    )
}

AT_REST = frozenset(
    kind.KIND
    for kind in (MakeToken, ResponderCertificate, PinPerspectives, Backup, WrappedBackup, Restore, Destroy)
)
"""Steps for which the CA must not run: they write the vault's journal, copy or take away what it has open, or
make keys of processes that run."""
