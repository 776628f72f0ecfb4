"""What is decided on the controller while a change goes through the fleet."""
