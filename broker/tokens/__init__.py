"""Steps 2 and 3: verify the tokens of a request, and say who acts for whom."""
