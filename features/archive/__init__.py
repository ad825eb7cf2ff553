"""Everything that the shop has told so far, in generations, and which one is published."""
