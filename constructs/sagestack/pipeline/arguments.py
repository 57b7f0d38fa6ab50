"""The four pieces of a job's arguments that everybody writes, as plain dicts of the API's own shape.

They hide nothing: each returns what `boto3` would be given, to be changed or added to as any dict.
"""

import json
from collections.abc import Mapping

from sagestack.pipeline.values import Value

Arguments = dict[str, object]


def processing_input(name: str, s3_uri: str | Value, local_path: str) -> Arguments:
    """Everything below an S3 prefix, copied to `local_path` on every instance before the container starts.

    `local_path` is below /opt/ml/processing:
    https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_ProcessingS3Input.html
    """
    return {
        "InputName": name,
        "AppManaged": False,
        "S3Input": {
            "S3Uri": s3_uri,
            "LocalPath": local_path,
            "S3DataType": "S3Prefix",
            "S3InputMode": "File",
            "S3DataDistributionType": "FullyReplicated",
            "S3CompressionType": "None",
        },
    }


def processing_output(name: str, s3_uri: str | Value, local_path: str) -> Arguments:
    """What the container leaves in `local_path`, copied to S3 when the job has ended.

    `local_path` is below /opt/ml/processing, and `name` is what `ProcessingStep.output` asks for:
    https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_ProcessingS3Output.html
    """
    return {
        "OutputName": name,
        "AppManaged": False,
        "S3Output": {"S3Uri": s3_uri, "LocalPath": local_path, "S3UploadMode": "EndOfJob"},
    }


def channel(name: str, s3_uri: str | Value, *, content_type: str | None = None, is_sharded: bool = False) -> Arguments:
    """A training channel: everything below an S3 prefix, in /opt/ml/input/data/`name`, on every instance.

    `is_sharded` gives each instance a part of the objects instead, so that no row is trained on twice.

    `content_type` is told to the container, in inputdataconfig.json; SageMaker itself does nothing with it.
    https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_Channel.html
    """
    made: Arguments = {
        "ChannelName": name,
        "DataSource": {
            "S3DataSource": {
                "S3Uri": s3_uri,
                "S3DataType": "S3Prefix",
                "S3DataDistributionType": "ShardedByS3Key" if is_sharded else "FullyReplicated",
            }
        },
    }
    if content_type is not None:
        made["ContentType"] = content_type
    return made


def hyperparameters(values: Mapping[str, str | int | float | bool | Value]) -> dict[str, str | Value]:
    """Hyperparameters as CreateTrainingJob takes them: text. Numbers and booleans are written as JSON writes them.

    References are turned into text, too: SageMaker refuses a number where text is wanted.
    """
    return {name: _text(value) for name, value in values.items()}


def _text(value: str | int | float | bool | Value) -> str | Value:
    if isinstance(value, Value):
        return value.to_string()
    return value if isinstance(value, str) else json.dumps(value)
