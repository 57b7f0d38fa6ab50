"""The command line: everything outside `up` and `down` speaks boto3 to whatever the environment is."""
