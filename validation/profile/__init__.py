"""A guess at the settings that read a folder or a file of a shop's own, with the evidence for each."""
