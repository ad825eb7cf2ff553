"""What is repaired or filled in before the rules are applied, and floods of events."""
