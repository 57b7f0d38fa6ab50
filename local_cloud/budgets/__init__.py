"""AWS Budgets in stacks. A budget keeps state; nothing is ever spent here, so it never speaks by itself."""
