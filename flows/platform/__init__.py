"""The processes of a platform on one machine: Prefect server, runner, service, monitoring."""
