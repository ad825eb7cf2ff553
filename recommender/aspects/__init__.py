"""What reviews say of an item's sides: (aspect, opinion, polarity), and on which of them several reviewers agree."""
