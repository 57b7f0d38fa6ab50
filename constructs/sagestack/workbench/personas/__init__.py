"""What people may do in an environment, by the work that they have there."""
