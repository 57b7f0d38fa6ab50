"""How the local cloud runs containers: in a real engine where one answers, else as processes of the same image."""
