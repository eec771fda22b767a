/* Octets into a mapped file, where a page that cannot be had is an answer and not the end. */
/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SEKISHO_MAPPED_H
#define SEKISHO_MAPPED_H

#include <stdbool.h>
#include <stddef.h>

/* Where the kernel has no page for a mapped file (it was cut short, its disk fails, a file system
 * that copies on write is full) it sends SIGBUS to whoever touches it. mapped_begin makes of that
 * an answer of mapped_copy, for the whole process; a SIGBUS of anything else does what it would
 * have done. Any thread that does not block SIGBUS, any number of times. */
void mapped_begin(void);

/* Copies; false: a page of `to` cannot be had, and what of it was copied is not known. In the page
 * where a file ends there is room behind its end too: what is copied there is true, and lost. Not
 * in a signal's handler. */
bool mapped_copy(void *to, const void *from, size_t size);

#endif
