"""A fictional firm and its AI traffic, played against a real Penstock in a temporary directory."""
