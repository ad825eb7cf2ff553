"""The processes of a running service: its supervisor, the workers that answer, and spares that take their places."""
