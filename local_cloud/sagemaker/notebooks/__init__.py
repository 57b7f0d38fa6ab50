"""Notebook instances, their lifecycle configurations and their git repositories, as operations of the API."""
