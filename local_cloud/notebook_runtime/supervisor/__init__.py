"""The first process of a notebook instance: a program of its own, copied into the image, standard library only.

Both runtimes run it: in a container as process 1, and as a process of its own where there is no engine. It reads commands
from its standard input and answers on its standard output, one JSON object a line. Its input closes when the local cloud
ends, however it ends: then everything of the instance ends, so that nothing outlives a local cloud that was killed.
"""
