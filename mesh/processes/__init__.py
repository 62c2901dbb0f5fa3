"""The processes of a mesh: thin shells around the cores."""

#: Set in slots, so that a task that opens a mesh is told why it should not; a mark of the worker's,
#: by which its warden knows what they have started.
SLOT_VARIABLE = "MESH_SLOT"

#: Carries the owner's `sys.path` to slots, a line each.
PATH_VARIABLE = "MESH_SYS_PATH"

#: In the folder between a worker and its slots: a signal has told the worker to leave.
LEAVING_FILE = "leaving"

#: In place of the port on which a worker serves results: none on TCP.
NO_PORT = -1
