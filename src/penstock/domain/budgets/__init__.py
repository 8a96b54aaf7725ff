"""What a request may cost at most, so that a budget can hold it before it is spent."""
