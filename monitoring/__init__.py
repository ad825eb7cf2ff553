"""Monitoring: looks at a shop (`drift`) by signals (`signals`), their calibrated past, alarms and reports."""
