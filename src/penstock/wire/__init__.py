"""HTTP/1.1 over asyncio and httptools, both sides. Knows bytes, limits and time-outs, and no word of Penstock's trade."""
