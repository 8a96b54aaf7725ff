"""How long a token takes: a law of physics with a few fitted constants, what measurements say beyond it, and how sure that is."""
