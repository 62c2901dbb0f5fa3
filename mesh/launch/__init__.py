"""Workers on other hosts, started by what is there: ssh, Slurm, PBS, MPI."""
