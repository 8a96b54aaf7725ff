"""The dialects of model APIs: what a body says, and how to change no more of it than needed."""
