/* Memory that runs out: the linker leads the allocations of a test here. */
/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SEKISHO_TEST_MEMORY_H
#define SEKISHO_TEST_MEMORY_H

#include <stdbool.h>
#include <stdlib.h>

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *block, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *block, size_t size);

static long fail_at;   /* the allocation that fails, 0 = none */
static bool fail_more; /* and all after it */
static long allocations;

static bool fails(void)
{
    allocations++;
    return fail_at > 0 && (allocations == fail_at || (fail_more && allocations > fail_at));
}

void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *block, size_t size)
{
    return fails() ? NULL : __real_realloc(block, size);
}

#endif
