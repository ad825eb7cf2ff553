"""What clients send and receive: a module per endpoint, and the OpenAPI description made from them."""
