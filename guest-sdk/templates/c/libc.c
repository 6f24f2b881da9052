/* As much of a C library as a remediator needs. Every call starts in a fresh instance, so memory is only ever taken:
 * the host throws all of it away afterwards. */

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define PAGE 65536u
#define ALIGN 16u

extern unsigned char __heap_base;

static uintptr_t next;

void *malloc(size_t size) {
    if (next == 0) next = (uintptr_t)&__heap_base;
    /* The length lies in front of the block: realloc has to know it. */
    uintptr_t block = ((next + sizeof(size_t) + ALIGN - 1) & ~(uintptr_t)(ALIGN - 1));
    if (size > UINTPTR_MAX - block) abort();
    uintptr_t end = block + size;
    uintptr_t have = (uintptr_t)__builtin_wasm_memory_size(0) * PAGE;
    if (end > have && __builtin_wasm_memory_grow(0, (end - have + PAGE - 1) / PAGE) == (size_t)-1) abort();
    ((size_t *)block)[-1] = size;
    next = end;
    return (void *)block;
}

void *calloc(size_t count, size_t size) {
    if (size != 0 && count > SIZE_MAX / size) abort();
    return memset(malloc(count * size), 0, count * size);
}

void *realloc(void *memory, size_t size) {
    void *bigger = malloc(size);
    if (memory != NULL) {
        size_t had = ((size_t *)memory)[-1];
        memcpy(bigger, memory, had < size ? had : size);
    }
    return bigger;
}

void free(void *memory) { (void)memory; }

_Noreturn void abort(void) { __builtin_trap(); }

void *memcpy(void *to, const void *from, size_t length) { return memmove(to, from, length); }

void *memmove(void *to, const void *from, size_t length) {
    unsigned char *target = to;
    const unsigned char *source = from;
    if (target < source) {
        for (size_t i = 0; i < length; i++) target[i] = source[i];
    } else {
        for (size_t i = length; i > 0; i--) target[i - 1] = source[i - 1];
    }
    return to;
}

void *memset(void *memory, int byte, size_t length) {
    unsigned char *target = memory;
    for (size_t i = 0; i < length; i++) target[i] = (unsigned char)byte;
    return memory;
}

int memcmp(const void *one, const void *two, size_t length) {
    const unsigned char *a = one, *b = two;
    for (size_t i = 0; i < length; i++) {
        if (a[i] != b[i]) return a[i] < b[i] ? -1 : 1;
    }
    return 0;
}

size_t strlen(const char *text) {
    size_t length = 0;
    while (text[length] != 0) length++;
    return length;
}
