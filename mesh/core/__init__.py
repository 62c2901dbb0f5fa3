"""The deciding parts: pure state machines of router, worker and client."""
