"""What CloudWatch does with metrics over time: windows, metric math, alarms. Storing and serving them is MiniStack's part."""
