"""Figures as SVG, made on the server: no script, no inline style; colours come by class, and each figure says itself in words."""
