"""The deploy plane: renders files for the systems that stand around Penstock."""
