"""What a change of the repository would do to the environments, said before anybody does it.

Reads synthesized assemblies and imports no CDK, but for `rules`, which runs the CDK's own validators in a process of its own.
"""
