"""The CP/CPS and the terms: who approved them, and whether the CA does what they say."""
