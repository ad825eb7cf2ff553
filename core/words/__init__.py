"""What words of many languages say in a text."""
