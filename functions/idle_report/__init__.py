"""Says which notebooks of an environment run and are not used, and which of them nothing would ever stop."""
