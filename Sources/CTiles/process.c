// Linux's calls are hidden from Swift behind this macro.
#define _GNU_SOURCE
#include "process.h"

#include <malloc.h>
#include <sched.h>
#include <string.h>

int lockstep_get_affinity(unsigned char mask[LOCKSTEP_AFFINITY_BYTES]) {
    memset(mask, 0, LOCKSTEP_AFFINITY_BYTES);
    return sched_getaffinity(0, LOCKSTEP_AFFINITY_BYTES, (cpu_set_t *)mask);
}

int lockstep_set_affinity(const unsigned char mask[LOCKSTEP_AFFINITY_BYTES]) {
    return sched_setaffinity(0, LOCKSTEP_AFFINITY_BYTES, (const cpu_set_t *)mask);
}

void lockstep_evict(const void *address, long bytes) {
    const long line = 64;
    for (long offset = 0; offset < bytes; offset += line) {
#if defined(__x86_64__)
        __builtin_ia32_clflush((const char *)address + offset);
#elif defined(__aarch64__)
        __asm__ volatile("dc civac, %0" : : "r"((const char *)address + offset) : "memory");
#endif
    }
    __sync_synchronize();
}

void lockstep_trim_heap(void) { malloc_trim(0); }
