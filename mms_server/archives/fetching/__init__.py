"""Fetch archives from other machines: rules, protocols, resume and retries."""
