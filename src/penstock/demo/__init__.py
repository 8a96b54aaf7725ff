"""A fictional firm: thirty days of its AI traffic for a ledger, and more of it played live against a real Penstock."""
