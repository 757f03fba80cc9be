"""Everything that the functions vendor: all of the logic, in rooms that import only downwards."""
