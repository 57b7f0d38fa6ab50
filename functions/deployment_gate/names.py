"""What the functions and the templates that deploy them must call by the same name."""

VERSION_CHECK = "Custom::SagestackVersionCheck"
GATE = "Custom::SagestackDeploymentGate"

NAMESPACE = "Sagestack"
WRONG, FAILED, ASKED = "GoldenRecordsWrong", "GoldenRecordsFailed", "GoldenRecordsAsked"
"""The probe's metrics, counts with the dimension EndpointName: answers of neither version, requests without one, requests."""
