"""Step 6, commit: what happened is on disk, and provably unchanged, before anybody is answered."""
