"""What Redis and the blob store hold, and the transitions between its states."""
