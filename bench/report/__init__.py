"""What becomes of the figures: a table, a page with plots, a file of data, and what moved since the last."""
