"""Lets instances that are scaled change their type."""
