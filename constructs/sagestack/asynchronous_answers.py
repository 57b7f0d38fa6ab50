"""Where an asynchronous endpoint takes its requests from, and where its answers go."""

from __future__ import annotations

from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sagemaker as sagemaker
from aws_cdk import aws_sns as sns

from constructs import Construct
from sagestack import settings


class AsynchronousAnswers(Construct):
    """Requests, answers and failures as objects, each below a prefix; and a topic each for what went well and what did not.

    Whoever asked need not look again and again: the topic says where the answer is. How long objects stay is a lifecycle
    rule of the bucket.

    Attributes:
        success_topic: says of every answer where it is.
        error_topic: says of every request that failed why.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        names: settings.ModelNames,
        bucket: s3.IBucket,
        encryption_key: kms.IKey,
    ) -> None:
        """Makes the topics.

        Args:
            names: whose prefixes are used.
            bucket: of requests and answers.
            encryption_key: of answers and topics.
        """
        super().__init__(scope, id)
        self._names, self._bucket, self._key = names, bucket, encryption_key
        self.success_topic, self.error_topic = (
            sns.Topic(
                self,
                topic,
                master_key=encryption_key,
                enforce_ssl=True,
                display_name=f"{topic} of {names.endpoint}",
            )
            for topic in ("Answers", "Failures")
        )

    def config(
        self, max_concurrent_invocations_per_instance: int
    ) -> sagemaker.CfnEndpointConfig.AsyncInferenceConfigProperty:
        """The part of an endpoint config that makes it asynchronous."""
        config = sagemaker.CfnEndpointConfig
        return config.AsyncInferenceConfigProperty(
            client_config=config.AsyncInferenceClientConfigProperty(
                max_concurrent_invocations_per_instance=max_concurrent_invocations_per_instance
            ),
            output_config=config.AsyncInferenceOutputConfigProperty(
                s3_output_path=self._bucket.s3_url_for_object(self._names.answer_prefix),
                s3_failure_path=self._bucket.s3_url_for_object(self._names.failure_prefix),
                kms_key_id=self._key.key_arn,
                notification_config=config.AsyncInferenceNotificationConfigProperty(
                    success_topic=self.success_topic.topic_arn, error_topic=self.error_topic.topic_arn
                ),
            ),
        )

    def grant_answer(self, role: iam.IRole) -> None:
        """Lets the endpoint read requests, write answers and failures, and tell the topics.

        https://docs.aws.amazon.com/sagemaker/latest/dg/async-inference-create-endpoint-prerequisites.html
        """
        self._bucket.grant_read(role, f"{self._names.request_prefix}*")
        for prefix in (self._names.answer_prefix, self._names.failure_prefix):
            self._bucket.grant_put(role, f"{prefix}*")
        for topic in (self.success_topic, self.error_topic):
            topic.grant_publish(role)

    def grant_ask(self, grantee: iam.IGrantable) -> None:
        """Lets a caller put requests, and read answers and failures."""
        self._bucket.grant_put(grantee, f"{self._names.request_prefix}*")
        for prefix in (self._names.answer_prefix, self._names.failure_prefix):
            self._bucket.grant_read(grantee, f"{prefix}*")
