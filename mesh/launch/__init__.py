"""Ways to start a mesh's processes."""
