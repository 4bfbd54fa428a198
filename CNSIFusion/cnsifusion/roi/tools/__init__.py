"""Interactive tools: pure functions from a slice or window and a point or stroke to a mask or a reason for none."""
