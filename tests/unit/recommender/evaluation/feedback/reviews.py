"""Reviews as the tests of feedback measures write them."""

from recommender.writing.examples import WritingExample, WritingRequest


def review(text: str, rating: float | None = 5.0, item: str = "i1", user: str = "u1", says: str = "") -> WritingExample:
    """A review of an item whose own text is its id, by a user whose profile is `says`."""
    return WritingExample(WritingRequest(rating, says or f"user {user}", f"item {item}"), text, user, item)
