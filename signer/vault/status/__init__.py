"""The delegated OCSP responders, and what is looked at before CRLs and answers are signed."""
