#pragma once

#include <stdbool.h>

/// Bytes of an affinity mask.
enum { LOCKSTEP_AFFINITY_BYTES = 1024 };

/// The CPUs that the calling thread may run on, a bit each. Returns 0, or -1 where the system does not tell.
int lockstep_get_affinity(unsigned char mask[LOCKSTEP_AFFINITY_BYTES]);

/// Lets the calling thread, and threads that it starts, run on the CPUs of the mask that exist.
int lockstep_set_affinity(const unsigned char mask[LOCKSTEP_AFFINITY_BYTES]);

/// Tells the CPU that the calling thread looks at the same memory over and over.
static inline void lockstep_pause(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

/// Asks for the line of memory at `address`, which need not be there: it comes into the nearest cache while others are at
/// work.
static inline void lockstep_prefetch(const void *address) { __builtin_prefetch(address); }

/// Takes `bytes` from `address` on out of the caches of all cores, so that they next come from memory. Leaves them where they
/// are on CPUs that have no such instruction for everyone.
void lockstep_evict(const void *address, long bytes);

/// Whether lines are known to leave the caches many at a time, which takes no longer than a copy, and not one behind the other.
bool lockstep_evicts_at_once(void);

/// Gives memory that was freed back to the system.
void lockstep_trim_heap(void);
