"""What processes say to each other: messages, their bytes, and the link that makes them certain."""
