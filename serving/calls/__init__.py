"""What a client asks and reads, whatever sends it: the calls of the API, when they are repeated, streamed texts."""
