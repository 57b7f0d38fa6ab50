"""Adds statements to the policy of an ECR repository that somebody else owns."""
