"""What the GPUs' and engines' own meters tell, read from a Prometheus and kept by the hour."""
