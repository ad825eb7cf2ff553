"""What the data gate put aside: reading it, and whom somebody asked to let in again."""
