"""What the vault builds: certificates, CRLs and OCSP answers, octet by octet."""
