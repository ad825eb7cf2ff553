"""Who may ask what: API keys and their scopes, before anything of a request is read."""
