"""One-file reports: HTML that needs nothing but itself, for mail, archives and paper."""
