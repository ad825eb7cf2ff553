"""The front door and the back door: readers, expectations, quarantine, and drift."""
