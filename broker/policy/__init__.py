"""Step 4, decide: the policy engines, what they are asked, and the floor below their answers."""
