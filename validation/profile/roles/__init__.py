"""Which file is which table of the contract, and which of its columns plays which role."""
