"""What people do at the vault: share a PIN, open and close the token, halt and resume."""
