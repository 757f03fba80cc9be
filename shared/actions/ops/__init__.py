"""What `actions` has for operators: the page for whoever is on call, its JSON, dead letters and replay."""
