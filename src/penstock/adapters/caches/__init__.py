"""Where the exact cache keeps its answers."""
