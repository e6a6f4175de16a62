"""The index of signed OCSP answers: written by the keeper alone, mapped and read by every status worker."""
