"""Lifecycle configs: typed options become one script for the creation and one for each start of a notebook instance."""
