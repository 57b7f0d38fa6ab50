"""How much of what a pipeline may hold.

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/pipelines-quotas.html
"""

STEPS = 50
PARAMETERS = 200
PARAMETER_NAME_LENGTH = 64
PARAMETER_ENUM_VALUES = 16
PARAMETER_TEXT_LENGTH = 2048  # of a default, and of each enum value
CONDITIONS = 200  # in a condition step, and in an Or
BRANCH_STEPS = 20
PROPERTY_FILES = 10  # in all steps together
JSON_GETS = 200  # in all steps together


def too_many(found: int, most: int, where: str, what: str) -> str:
    """The mistake of exceeding a quota."""
    return f"{where}: {found:,} {what}, SageMaker takes at most {most:,}"
