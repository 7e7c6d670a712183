#include "cpu_features.h"

// In C, and compiled for the baseline instruction set, so that it runs on a CPU that the rest of the binary
// may not run on.

int lockstep_built_isa_level(void) {
#if defined(__x86_64__)
    return LOCKSTEP_ISA_LEVEL;
#else
    return 0;
#endif
}

int lockstep_cpu_isa_level(void) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("x86-64-v4")) return 4;
    if (__builtin_cpu_supports("x86-64-v3")) return 3;
    if (__builtin_cpu_supports("x86-64-v2")) return 2;
    return 1;
#else
    return 0;
#endif
}
