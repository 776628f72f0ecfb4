"""The servers that a user would pick instead, in environments of their own, under the same load."""
