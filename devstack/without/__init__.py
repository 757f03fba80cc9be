"""What is installed here for other reasons, and by no list of a function's own: hidden from it."""
