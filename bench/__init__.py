"""What Sluice costs and how fast it is, measured side by side with its peers; never part of a test or a bundle."""
