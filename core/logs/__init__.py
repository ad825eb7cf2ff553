"""What the service records: the clients' events, durable before they are acknowledged."""
