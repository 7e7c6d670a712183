#define _GNU_SOURCE
#include "allocation_counter.h"

#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);
void *__libc_memalign(size_t, size_t);

enum { capacity = 65536 };
static _Thread_local int counting = 0;
static int total = 0;
static void *callers[capacity];

static void record(void *caller) {
    if (!counting) return;
    if (total < capacity) callers[total] = caller;
    total++;
}

void *malloc(size_t size) {
    record(__builtin_return_address(0));
    return __libc_malloc(size);
}

void *calloc(size_t count, size_t size) {
    record(__builtin_return_address(0));
    return __libc_calloc(count, size);
}

void *realloc(void *block, size_t size) {
    record(__builtin_return_address(0));
    return __libc_realloc(block, size);
}

void *memalign(size_t alignment, size_t size) {
    record(__builtin_return_address(0));
    return __libc_memalign(alignment, size);
}

void *aligned_alloc(size_t alignment, size_t size) {
    record(__builtin_return_address(0));
    return __libc_memalign(alignment, size);
}

int posix_memalign(void **block, size_t alignment, size_t size) {
    record(__builtin_return_address(0));
    void *result = __libc_memalign(alignment, size);
    if (!result) return ENOMEM;
    *block = result;
    return 0;
}

void *mmap(void *address, size_t length, int protection, int flags, int file, off_t offset) {
    record(__builtin_return_address(0));
    return (void *)syscall(SYS_mmap, address, length, protection, flags, file, offset);
}

void allocation_counter_start(void) {
    total = 0;
    counting = 1;
}

void allocation_counter_stop(void) { counting = 0; }

static int is_ours(void *caller) {
    Dl_info caller_info, own_info;
    if (!dladdr(caller, &caller_info) || !caller_info.dli_fname) return 1;
    if (!dladdr((void *)&is_ours, &own_info)) return 1;
    return caller_info.dli_fbase == own_info.dli_fbase || strstr(caller_info.dli_fname, "swift") != NULL
        || strstr(caller_info.dli_fname, "Foundation") != NULL;
}

static int recorded(void) { return total < capacity ? total : capacity; }

int allocation_counter_ours(void) {
    int count = 0;
    for (int i = 0; i < recorded(); i++) count += is_ours(callers[i]);
    return count;
}

int allocation_counter_foreign(void) { return total - allocation_counter_ours(); }

const char *allocation_counter_first_caller(void) {
    for (int i = 0; i < recorded(); i++) {
        Dl_info info;
        if (!is_ours(callers[i]) || !dladdr(callers[i], &info)) continue;
        return info.dli_sname ? info.dli_sname : info.dli_fname;
    }
    return "";
}
