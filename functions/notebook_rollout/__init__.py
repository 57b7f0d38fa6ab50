"""Restarts notebook instances whose lifecycle config changed, in a maintenance window."""
