"""Rules: the contract's on values (`values`), on rows (`rows`), on tables (`shares`), and the shop's own (`own`)."""
