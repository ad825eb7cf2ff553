"""How good written feedback is: measures, beside what is had without a language model."""
