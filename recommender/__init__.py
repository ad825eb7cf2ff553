"""What is learned and how it is judged, and the words that every room shares. Knows no framework."""
