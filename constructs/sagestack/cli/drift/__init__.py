"""What is in an account and not in git: changed by hand, or deployed from elsewhere."""
