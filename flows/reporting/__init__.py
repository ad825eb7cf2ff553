"""What a run leaves for people: Prefect artifacts, reports and which stay, its outcome, what each step took."""
