"""Who may do what, and how often: API keys, scopes, rate limits, what browsers may not do, and the audit of all that."""
