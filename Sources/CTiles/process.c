// Linux's calls are hidden from Swift behind this macro.
#define _GNU_SOURCE
#include "process.h"

#include <malloc.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

// Bytes of a line of the caches.
enum { LINE = 64 };

int lockstep_get_affinity(unsigned char mask[LOCKSTEP_AFFINITY_BYTES]) {
    memset(mask, 0, LOCKSTEP_AFFINITY_BYTES);
    return sched_getaffinity(0, LOCKSTEP_AFFINITY_BYTES, (cpu_set_t *)mask);
}

int lockstep_set_affinity(const unsigned char mask[LOCKSTEP_AFFINITY_BYTES]) {
    return sched_setaffinity(0, LOCKSTEP_AFFINITY_BYTES, (const cpu_set_t *)mask);
}

#if defined(__x86_64__)
bool lockstep_evicts_at_once(void) {
    // A hypervisor answers CPUID itself, which takes it tens of microseconds.
    static atomic_int known;
    enum { UNKNOWN, NO, YES };
    int answer = atomic_load_explicit(&known, memory_order_relaxed);
    if (answer == UNKNOWN) {
        unsigned eax, ebx, ecx, edx;
        const unsigned clflushopt = 1u << 23;
        answer = __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) && (ebx & clflushopt) ? YES : NO;
        atomic_store_explicit(&known, answer, memory_order_relaxed);
    }
    return answer == YES;
}

__attribute__((target("clflushopt"))) static void evict_at_once(const char *first, const char *end) {
    for (; first < end; first += LINE) __builtin_ia32_clflushopt(first);
}

static void evict_in_order(const char *first, const char *end) {
    for (; first < end; first += LINE) __builtin_ia32_clflush(first);
}

static void evict_lines(const char *first, const char *end) {
    (lockstep_evicts_at_once() ? evict_at_once : evict_in_order)(first, end);
}
#else
// Not measured on others.
bool lockstep_evicts_at_once(void) { return false; }

static void evict_lines(const char *first, const char *end) {
#if defined(__aarch64__)
    for (; first < end; first += LINE) __asm__ volatile("dc civac, %0" : : "r"(first) : "memory");
#else
    (void)first, (void)end;
#endif
}
#endif

void lockstep_evict(const void *address, long bytes) {
    if (bytes <= 0) return;
    // What does not begin with a line may end in one more.
    const uintptr_t first = (uintptr_t)address & ~(uintptr_t)(LINE - 1);
    evict_lines((const char *)first, (const char *)address + bytes);
    __sync_synchronize();
}

void lockstep_trim_heap(void) { malloc_trim(0); }
