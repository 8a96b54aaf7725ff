"""What the semantic cache holds and earns, seen from the controller: its log followed, tidied, explained, and changed by people."""
