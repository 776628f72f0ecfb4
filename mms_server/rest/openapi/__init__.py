"""The OpenAPI document of what a host serves."""
