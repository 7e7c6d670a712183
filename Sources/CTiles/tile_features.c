#define _GNU_SOURCE
#include "tiles.h"

#include <errno.h>

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

// Bits of XCR0: the register states that the system saves when it switches threads.
enum {
    XCR0_AVX512 = 0xE6,  // SSE, AVX, mask registers and both parts of the 512-bit registers
    XCR0_TILES = 3 << 17,  // tile configuration and tile data
};

static unsigned saved_states(void) {
    unsigned low, high;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

static bool has(unsigned value, unsigned bits) { return (value & bits) == bits; }

static bool has_avx512(unsigned xcr0) {
    unsigned eax, ebx, ecx, edx;
    const unsigned foundation = 1u << 16, doublewords = 1u << 17, bytes = 1u << 30, lengths = 1u << 31;
    if (!has(xcr0, XCR0_AVX512) || !__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx)) return false;
    return has(ebx, foundation | doublewords | bytes | lengths);
}

static bool has_bf16(void) {
    unsigned eax, ebx, ecx, edx;
    return __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) && has(eax, 1u << 5);
}

// Tiles with bf16 products, and palette 1 with the sizes that the kernels are made for.
static bool has_amx(unsigned xcr0) {
    unsigned eax, ebx, ecx, edx;
    const unsigned bf16 = 1u << 22, tiles = 1u << 24;
    if (!has(xcr0, XCR0_TILES) || !__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx)) return false;
    if (!has(edx, bf16 | tiles) || !__get_cpuid_count(0x1D, 1, &eax, &ebx, &ecx, &edx)) return false;
    const unsigned tile_bytes = eax >> 16, row_bytes = ebx & 0xFFFF, names = ebx >> 16, rows = ecx & 0xFFFF;
    return tile_bytes >= 1024 && row_bytes >= 64 && names >= 8 && rows >= 16;
}

int lockstep_tiles_of_cpu(void) {
    unsigned eax, ebx, ecx, edx;
    // Without OSXSAVE there is no instruction to ask the system with.
    if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx) || !has(ecx, 1u << 27)) return LOCKSTEP_TILES_EMULATED;
    const unsigned xcr0 = saved_states();
    if (!has_avx512(xcr0)) return LOCKSTEP_TILES_EMULATED;
    if (!has_bf16()) return LOCKSTEP_TILES_AVX512FMA;
    return has_amx(xcr0) ? LOCKSTEP_TILES_AMX : LOCKSTEP_TILES_AVX512BF16;
}

bool lockstep_bf16_dot_products_are_slow(void) {
    unsigned eax, ebx, ecx, edx;
    // "GenuineIntel", in the order of ebx, edx, ecx.
    if (!__get_cpuid(0, &eax, &ebx, &ecx, &edx)) return false;
    if (ebx != signature_INTEL_ebx || edx != signature_INTEL_edx || ecx != signature_INTEL_ecx) return false;
    if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx)) return false;
    const unsigned family = eax >> 8 & 0xF, model = (eax >> 16 & 0xF) << 4 | (eax >> 4 & 0xF);
    // Of family 6 Cooper Lake alone has them at full rate. On Emerald Rapids they reach 86 GFLOP/s a core, multiply-adds 175.
    const unsigned cooper_lake = 0x55;
    return family == 6 && model != cooper_lake;
}

int lockstep_request_tile_registers(void) {
    // Linux's documentation, arch/x86/xstate: the process asks once, its threads inherit the answer.
    const long request_permission = 0x1023, tile_data = 18;
    return syscall(SYS_arch_prctl, request_permission, tile_data) == 0 ? 0 : errno;
}
#else
int lockstep_tiles_of_cpu(void) { return LOCKSTEP_TILES_EMULATED; }
bool lockstep_bf16_dot_products_are_slow(void) { return false; }
int lockstep_request_tile_registers(void) { return ENOSYS; }
#endif
