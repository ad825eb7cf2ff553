"""Feedback text: the review that this user would write."""
