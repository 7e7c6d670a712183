#pragma once

/// Counts this thread's calls of the C library's allocator and of `mmap`, by interposing them in the executable that links
/// this. Linux with glibc.
void allocation_counter_start(void);
void allocation_counter_stop(void);

/// Allocations between start and stop that were asked for by this program or the Swift runtime.
int allocation_counter_ours(void);
/// Those that other libraries (MPI, BLAS) asked for.
int allocation_counter_foreign(void);
/// Name of the function that asked for the first of ours, or of its file; empty when there is none.
const char *allocation_counter_first_caller(void);
