"""The documents of the repository: the CP/CPS and the terms, their text, versions and approval."""
