"""Admission control, load shedding, backlog limits and deadlines."""
