#pragma once
#include <mpi.h>

// MPI's constants are C casts that Swift cannot import; each accessor returns one.
static inline MPI_Comm lockstep_mpi_comm_world(void) { return MPI_COMM_WORLD; }
