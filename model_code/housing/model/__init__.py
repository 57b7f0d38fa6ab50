"""What is the housing model's own: its columns, and how its data is checked and split."""
