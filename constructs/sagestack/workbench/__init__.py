"""What people work with: notebook instances, Studio, their roles, and what keeps it all from costing too much."""
