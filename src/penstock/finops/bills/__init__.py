"""Bills out and bills in: the bill of a month and its close, and the comparison of invoices with the ledger."""
