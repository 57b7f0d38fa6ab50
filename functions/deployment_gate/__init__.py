"""Guards a deployment: checks versions before it, and what the endpoint serves and answers during and after it."""
