"""Sources of public prices, compiled to our own integer rates."""
