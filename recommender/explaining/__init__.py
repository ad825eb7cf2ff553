"""Why an item suits a user: facts, which of them matter to the user, and how they are said."""
