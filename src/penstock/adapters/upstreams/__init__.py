"""What answers model calls: real engines and APIs over HTTP, and a simulated engine."""
