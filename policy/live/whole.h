/* A small file that is there whole or not at all. */
/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SEKISHO_WHOLE_H
#define SEKISHO_WHOLE_H

#include <stdbool.h>
#include <sys/types.h>

#include "core/status.h"

/* Writes text to PATH.new, then renames it to PATH; durable: it and its folder are synced, so that
 * it outlives a power cut. No symlink is followed. STATUS_BROKEN: why is "PATH: cannot be written:
 * ..."; what was there before still is. */
enum status whole_write(const char *path, const char *text, mode_t mode, bool durable,
                        struct why *why);

#endif
