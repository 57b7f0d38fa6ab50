"""EventBridge Scheduler where MiniStack's ends: time zones, and targets that are any call of any service's API."""
