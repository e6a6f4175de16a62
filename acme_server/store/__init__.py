"""SQL for accounts, orders and authorizations.  Every function is given its transaction or reader."""
