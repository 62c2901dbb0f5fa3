"""What a user's script touches: Mesh, Future, Group, task."""
