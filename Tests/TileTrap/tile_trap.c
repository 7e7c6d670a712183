#define _GNU_SOURCE
#include "tile_trap.h"

#include <errno.h>

#if defined(__x86_64__)
#include <float.h>
#include <math.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <ucontext.h>

// The tile registers of a thread. Signals of an instruction arrive on the thread that ran it.
static _Thread_local struct {
    bool configured;
    uint8_t rows[8];
    uint16_t row_bytes[8];
    uint8_t tiles[8][16][64];
    long products;
} state;

long tile_trap_products(void) { return state.products; }

// An instruction in its three-byte VEX form, and where its operands are.
typedef struct {
    const uint8_t *next;
    uint8_t opcode, prefix;
    int reg, vector;
    bool is_memory;
    int rm;
    uintptr_t address;
    // Of an operand with an index register: the distance between rows.
    intptr_t stride;
} instruction;

enum { NO_PREFIX, PREFIX_66, PREFIX_F3, PREFIX_F2 };

static intptr_t general_register(const ucontext_t *context, int number) {
    static const int places[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                                   REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
    return context->uc_mcontext.gregs[places[number]];
}

static int32_t displacement(const uint8_t **at, int mod) {
    int32_t value = 0;
    if (mod == 1) {
        value = (int8_t) * (*at)++;
    } else if (mod == 2) {
        memcpy(&value, *at, 4);
        *at += 4;
    }
    return value;
}

// Volume 2, 2.1.3 and 2.3.5.
static bool decode(const ucontext_t *context, instruction *in) {
    const uint8_t *at = (const uint8_t *)context->uc_mcontext.gregs[REG_RIP];
    if (at[0] != 0xC4 || (at[1] & 0x1F) != 2 || (at[2] & 0x84) != 0) return false;
    const int r = ~at[1] >> 7 & 1, x = ~at[1] >> 6 & 1, b = ~at[1] >> 5 & 1;
    in->vector = ~at[2] >> 3 & 15;
    in->prefix = at[2] & 3;
    in->opcode = at[3];
    const int mod = at[4] >> 6;
    in->reg = (at[4] >> 3 & 7) | r << 3;
    in->rm = (at[4] & 7) | b << 3;
    in->is_memory = mod != 3;
    in->stride = 0;
    at += 5;
    if (!in->is_memory) {
        in->next = at;
        return true;
    }
    if ((in->rm & 7) == 4) {
        const uint8_t sib = *at++;
        const int base = (sib & 7) | b << 3, index = (sib >> 3 & 7) | x << 3;
        if (index != 4) in->stride = general_register(context, index) * (1 << (sib >> 6));
        const bool has_no_base = (sib & 7) == 5 && mod == 0;
        in->address = has_no_base ? 0 : general_register(context, base);
        in->address += displacement(&at, has_no_base ? 2 : mod);
    } else if ((in->rm & 7) == 5 && mod == 0) {
        in->address = displacement(&at, 2);
        in->address += (uintptr_t)at;
    } else {
        in->address = general_register(context, in->rm) + displacement(&at, mod);
    }
    in->next = at;
    return true;
}

static void configure(const uint8_t *from) {
    memset(&state.tiles, 0, sizeof state.tiles);
    state.configured = from[0] == 1;
    for (int tile = 0; tile < 8; tile++) {
        memcpy(&state.row_bytes[tile], from + 16 + 2 * tile, 2);
        state.rows[tile] = from[48 + tile];
    }
}

// bf16 as fp32, subnormal numbers as zero.
static float widened(const uint8_t *at) {
    uint16_t half;
    memcpy(&half, at, 2);
    const uint32_t bits = (uint32_t)half << 16;
    float value;
    memcpy(&value, &bits, 4);
    return fabsf(value) < FLT_MIN ? 0 : value;
}

static float flushed(float value) { return fabsf(value) < FLT_MIN ? 0 : value; }

// TDPBF16PS of volume 2.
static void multiply(int c, int a, int b) {
    state.products++;
    for (int m = 0; m < state.rows[c]; m++) {
        float sums[32] = {0};
        for (int k = 0; k < state.row_bytes[a] / 4; k++) {
            for (int n = 0; n < state.row_bytes[c] / 4; n++) {
                for (int half = 0; half < 2; half++) {
                    const float x = widened(&state.tiles[a][m][4 * k + 2 * half]);
                    const float y = widened(&state.tiles[b][k][4 * n + 2 * half]);
                    sums[2 * n + half] = flushed(fmaf(x, y, sums[2 * n + half]));
                }
            }
        }
        for (int n = 0; n < state.row_bytes[c] / 4; n++) {
            float element;
            memcpy(&element, &state.tiles[c][m][4 * n], 4);
            element = flushed(element + flushed(sums[2 * n] + sums[2 * n + 1]));
            memcpy(&state.tiles[c][m][4 * n], &element, 4);
        }
    }
}

static bool execute(const instruction *in) {
    if (in->opcode == 0x49 && in->is_memory && in->reg == 0 && in->prefix == NO_PREFIX) {
        configure((const uint8_t *)in->address);
        return true;
    }
    if (in->opcode == 0x49 && !in->is_memory && in->prefix == NO_PREFIX && in->reg == 0 && in->rm == 0) {
        memset(state.tiles, 0, sizeof state.tiles);
        state.configured = false;
        return true;
    }
    // All others need tiles, of which there are eight.
    if (!state.configured || in->reg > 7) return false;
    if (in->opcode == 0x49 && !in->is_memory && in->prefix == PREFIX_F2) {
        memset(state.tiles[in->reg], 0, sizeof state.tiles[0]);
        return true;
    }
    if (in->opcode == 0x4B && in->is_memory) {
        const bool is_store = in->prefix == PREFIX_F3;
        if (in->prefix == NO_PREFIX) return false;
        if (!is_store) memset(state.tiles[in->reg], 0, sizeof state.tiles[0]);
        for (int row = 0; row < state.rows[in->reg]; row++) {
            uint8_t *memory = (uint8_t *)(in->address + row * in->stride), *tile = state.tiles[in->reg][row];
            if (is_store) {
                memcpy(memory, tile, state.row_bytes[in->reg]);
            } else {
                memcpy(tile, memory, state.row_bytes[in->reg]);
            }
        }
        return true;
    }
    if (in->opcode == 0x5C && !in->is_memory && in->prefix == PREFIX_F3 && in->rm < 8 && in->vector < 8) {
        multiply(in->reg, in->rm, in->vector);
        return true;
    }
    return false;
}

static void trap(int number, siginfo_t *info, void *opaque) {
    ucontext_t *context = opaque;
    instruction in;
    if (decode(context, &in) && execute(&in)) {
        context->uc_mcontext.gregs[REG_RIP] = (greg_t)in.next;
    } else {
        // Runs it again, for the system to end the process.
        signal(number, SIG_DFL);
    }
}

int tile_trap_install(void) {
    struct sigaction action = {.sa_sigaction = trap, .sa_flags = SA_SIGINFO};
    sigemptyset(&action.sa_mask);
    return sigaction(SIGILL, &action, NULL) == 0 ? 0 : errno;
}
#else
int tile_trap_install(void) { return ENOSYS; }
long tile_trap_products(void) { return 0; }
#endif
