"""The processes of a mesh: thin shells around the cores."""
