"""Balances: what keeps the load of the experts even, see `rsmoe.router.Balance`."""
