"""What Sluice costs and how fast it is, side by side with its peers; never part of a test or a bundle."""
