"""Where a request may go and goes: complexity, tiers, hard rules, and what makes two requests the same."""
