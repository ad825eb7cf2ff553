"""What BentoML makes of the service, with no more of its own in a request than the request needs."""
