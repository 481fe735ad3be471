"""Callbacks: the end of an invocation, told to the URL that came with it. The ledger keeps who is still to be told."""
