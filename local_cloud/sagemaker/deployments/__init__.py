"""How an endpoint gets from one configuration to another: traffic shifting, rolling, alarms, roll-back."""
