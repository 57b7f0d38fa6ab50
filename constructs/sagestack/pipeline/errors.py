"""The one exception of the pipeline builders."""

from collections.abc import Sequence


class PipelineError(ValueError):
    """A pipeline definition that SageMaker would refuse, or run otherwise than it reads.

    `mistakes` holds every mistake found, one sentence each, with the step, the path and the value;
    the message lists them one per line.
    """

    def __init__(self, mistakes: Sequence[str]) -> None:
        self.mistakes = list(mistakes)
        if len(self.mistakes) == 1:
            super().__init__(self.mistakes[0])
        else:
            lines = "".join(f"\n  - {mistake}" for mistake in self.mistakes)
            super().__init__(f"The pipeline definition has {len(self.mistakes)} mistakes:{lines}")
