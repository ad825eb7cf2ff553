"""What a folder or a file of a shop's own holds: a guess at the settings that read it, with the evidence for each."""
