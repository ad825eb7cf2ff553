"""How often monitoring alarms in quiet weeks, and how soon it finds injected drifts."""
