"""SageMaker Studio: domains, user profiles, spaces, apps and custom images. They keep state; apps do not run here."""
