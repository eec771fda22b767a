/* The two clocks, read together. */
/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SEKISHO_MOMENT_H
#define SEKISHO_MOMENT_H

#include "core/facts.h"

/* Wall clock and CLOCK_BOOTTIME (or CLOCK_MONOTONIC where there is none), in milliseconds. */
struct moment moment_now(void);

enum { MOMENT_BOOT = 48 };
/* Names the time since the machine was started, in which the steady clock goes on; "" = unknown. */
void moment_boot(char name[MOMENT_BOOT]);

#endif
