/* The two clocks, read together. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "live/moment.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static int64_t milliseconds(clockid_t clock)
{
    struct timespec time = {0, 0};

    clock_gettime(clock, &time);
    return (int64_t)time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

struct moment moment_now(void)
{
#ifdef CLOCK_BOOTTIME
    return (struct moment){milliseconds(CLOCK_REALTIME), milliseconds(CLOCK_BOOTTIME)};
#else
    return (struct moment){milliseconds(CLOCK_REALTIME), milliseconds(CLOCK_MONOTONIC)};
#endif
}

void moment_boot(char name[MOMENT_BOOT])
{
    FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");

    name[0] = '\0';
    if (file != NULL) {
        if (fgets(name, MOMENT_BOOT, file) == NULL) {
            name[0] = '\0';
        }
        name[strcspn(name, "\n")] = '\0';
        fclose(file);
    }
}
