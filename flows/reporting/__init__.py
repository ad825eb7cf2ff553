"""What a run leaves for people: Prefect artifacts, the index of reports, its outcome and what each step took."""
