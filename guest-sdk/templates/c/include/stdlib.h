/* What the bindings need of a C library. See src/libc.c. */
#ifndef PALISADE_STDLIB_H
#define PALISADE_STDLIB_H

#include <stddef.h>

void *malloc(size_t size);
void *calloc(size_t count, size_t size);
void *realloc(void *memory, size_t size);
void free(void *memory);
_Noreturn void abort(void);

#endif
