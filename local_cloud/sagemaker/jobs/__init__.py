"""Training and processing jobs: their data, their containers, their logs."""
