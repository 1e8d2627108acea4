"""What is said over BIRD's control socket: replies and commands, of 2.0.12 and later, 3.x included."""
