#pragma once
#include <mpi.h>

// MPI's predefined handles are macros around C casts, which Swift cannot import; each accessor returns one.
static inline MPI_Comm lockstep_mpi_comm_world(void) { return MPI_COMM_WORLD; }
static inline MPI_Comm lockstep_mpi_comm_null(void) { return MPI_COMM_NULL; }
static inline MPI_Request lockstep_mpi_request_null(void) { return MPI_REQUEST_NULL; }
static inline MPI_Info lockstep_mpi_info_null(void) { return MPI_INFO_NULL; }
static inline MPI_Errhandler lockstep_mpi_errors_return(void) { return MPI_ERRORS_RETURN; }
static inline void *lockstep_mpi_in_place(void) { return MPI_IN_PLACE; }

static inline MPI_Datatype lockstep_mpi_float(void) { return MPI_FLOAT; }
static inline MPI_Datatype lockstep_mpi_double(void) { return MPI_DOUBLE; }
static inline MPI_Datatype lockstep_mpi_int32(void) { return MPI_INT32_T; }
static inline MPI_Datatype lockstep_mpi_int64(void) { return MPI_INT64_T; }
static inline MPI_Datatype lockstep_mpi_uint8(void) { return MPI_UINT8_T; }

static inline MPI_Op lockstep_mpi_sum(void) { return MPI_SUM; }
static inline MPI_Op lockstep_mpi_min(void) { return MPI_MIN; }
static inline MPI_Op lockstep_mpi_max(void) { return MPI_MAX; }
