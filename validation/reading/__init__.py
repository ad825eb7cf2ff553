"""Values of a source as values of the contract: ids, numbers, times and lists, the same for every reader."""
