"""Feedback text: the review this user would write, the reason an item suits."""
