"""What routing loses and what may stay open: evidence is counted, fitted, published and told; people are heard."""
