"""The capacity plane: gathers traces, offers and measurements, fits the laws of sizing to them, and replays traffic on fleets."""
