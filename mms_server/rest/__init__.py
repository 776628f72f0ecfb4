"""The HTTP interface: forms, answers, errors, and one package for each protocol."""
