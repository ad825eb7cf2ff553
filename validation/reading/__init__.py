"""How a source's values read as values of the contract: the one place for every reader and every column."""
