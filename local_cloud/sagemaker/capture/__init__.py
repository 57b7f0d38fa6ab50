"""What is kept or copied of requests: data capture and shadow variants."""
