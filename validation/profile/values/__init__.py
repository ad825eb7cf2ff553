"""What names and values mean: synonyms of columns and events, and the forms of dates, ratings and prices."""
