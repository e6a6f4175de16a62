"""What a certificate's status is now: OCSP answers and CRLs, two readers of one revocation row."""
