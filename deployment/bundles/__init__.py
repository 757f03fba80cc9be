"""What a function's bundle is and how it is made: staged from the sources, then packaged for its platform."""
