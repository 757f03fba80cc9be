"""`make demo`: a user's afternoon through all five lanes, and the proof that all of it adds up."""
