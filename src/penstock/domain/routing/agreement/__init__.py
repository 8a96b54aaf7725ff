"""Whether two answers to one question say the same: their canonical forms."""
