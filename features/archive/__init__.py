"""All events, reviews, users and items so far, in generations, and which generation is published."""
