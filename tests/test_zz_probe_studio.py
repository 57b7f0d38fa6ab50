import json, pytest
from tests.test_local_cloud_studio_stack import *
pytestmark=[]
def test_probe(story):
    s=story.deploy(STUDIO)
    print("STATUS",s, story.deployer.failures())
    print(story.file_systems())
    logs=story._cloud.client("logs")
    for g in logs.describe_log_groups()["logGroups"]:
        for st in logs.describe_log_streams(logGroupName=g["logGroupName"])["logStreams"]:
            for e in logs.get_log_events(logGroupName=g["logGroupName"],logStreamName=st["logStreamName"])["events"]:
                if "outcome" in e["message"] or "Denied" in e["message"] or "rror" in e["message"]: print(g["logGroupName"][-40:], e["message"][:600])
    print(story._cloud.log()[-2000:])
