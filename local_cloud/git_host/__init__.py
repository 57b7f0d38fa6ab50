"""A git host on this machine: the part of GitHub's REST API that the project uses, on top of a real bare repository.

What talks to GitHub (the function that takes approvals to git, `sagestack promote --after`, `sagestack comment`) talks to it
unchanged, so that the way of a version from its approval to prod can be walked without an account. It needs the standard
library and the program git (2.38 or later), and runs in any Python of the project.
"""
