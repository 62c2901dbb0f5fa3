"""What survives a process: the router's records and the workers' results, in LMDB."""
