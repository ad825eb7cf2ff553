"""The Feast repository: definitions, offline, online and registry stores."""
