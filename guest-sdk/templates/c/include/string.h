/* What the bindings need of a C library. See src/libc.c. */
#ifndef PALISADE_STRING_H
#define PALISADE_STRING_H

#include <stddef.h>

void *memcpy(void *to, const void *from, size_t length);
void *memmove(void *to, const void *from, size_t length);
void *memset(void *memory, int byte, size_t length);
int memcmp(const void *one, const void *two, size_t length);
size_t strlen(const char *text);

#endif
