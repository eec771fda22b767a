/* Decision numbers: blocks of them are reserved on disk before one is given. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "live/sequence.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "live/whole.h"

enum { SEQUENCE_BLOCK = 1000000, PATH_ROOM = 4096 };

/* The first number that no earlier process has reserved. STATUS_BAD: not a number. */
static enum status read_file(const char *path, uint64_t *first, struct why *why)
{
    char text[64];
    int file = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

    if (file < 0) {
        *first = 1;
        return errno == ENOENT ? STATUS_OK
                               : why_set(why, STATUS_BROKEN, "%s: %s", path, strerror(errno));
    }
    ssize_t size = read(file, text, sizeof text - 1);
    close(file);
    if (size < 0) {
        return why_set(why, STATUS_BROKEN, "%s: %s", path, strerror(errno));
    }
    text[size] = '\0';
    char *end = text;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    if (errno != 0 || end == text || text[0] < '1' || text[0] > '9' || strcmp(end, "\n") != 0 ||
        number > INT64_MAX - 2 * (uint64_t)SEQUENCE_BLOCK) {
        return STATUS_BAD;
    }
    *first = number;
    return STATUS_OK;
}

static enum status write_file(const char *path, uint64_t first, struct why *why)
{
    char text[32];
    struct why inner;

    snprintf(text, sizeof text, "%" PRIu64 "\n", first);
    enum status status = whole_write(path, text, 0640, true, &inner);
    return status == STATUS_OK
               ? status
               : why_set(why, status, "cannot reserve decision numbers: %s", inner.text);
}

/* Where numbering goes on: the higher of the file and its copy. A damaged file is copied aside, not
 * taken away: it must still be there if nothing new can be written now. */
static enum status find_first(const char *path, const char *copy, int64_t wall_ms, uint64_t *first,
                              struct why *why)
{
    uint64_t copied = 0;
    struct why ignored;
    char aside[PATH_ROOM];
    bool set_aside = false;
    enum status status = read_file(path, first, why);

    if (status == STATUS_BROKEN) {
        return status;
    }
    if (read_file(copy, &copied, &ignored) != STATUS_OK) {
        copied = 0;
    }
    if (status == STATUS_BAD) {
        *first = wall_ms > 0 ? (uint64_t)wall_ms : 1;
        if (snprintf(aside, sizeof aside, "%s.damaged", path) < (int)sizeof aside) {
            unlink(aside);
            set_aside = link(path, aside) == 0;
        }
    }
    *first = copied > *first ? copied : *first;
    if (status == STATUS_BAD) {
        why_set(why, STATUS_OK, "%s: was damaged%s%s; decision numbers go on at %" PRIu64, path,
                set_aside ? " and is kept as " : "", set_aside ? aside : "", *first);
    }
    return STATUS_OK;
}

enum status sequence_reserve(struct sequence *sequence, const char *path, int64_t wall_ms,
                             struct why *why)
{
    uint64_t next = atomic_load(&sequence->next), limit = atomic_load(&sequence->limit);
    uint64_t first = limit;
    char copy[PATH_ROOM];
    struct why trouble;
    enum status status = STATUS_OK;

    why->text[0] = '\0';
    if (limit != 0 && next + SEQUENCE_BLOCK / 2 < limit) {
        return STATUS_OK;
    }
    if (snprintf(copy, sizeof copy, "%s.copy", path) >= (int)sizeof copy) {
        return why_set(why, STATUS_BROKEN, "%s: name too long", path);
    }
    if (limit == 0) {
        status = find_first(path, copy, wall_ms, &first, why);
    }
    for (int i = 0; status == STATUS_OK && i < 2; i++) {
        status = write_file(i == 0 ? copy : path, first + SEQUENCE_BLOCK, &trouble);
        if (status != STATUS_OK) {
            *why = trouble;
        }
    }
    if (status == STATUS_OK) {
        if (limit == 0) {
            atomic_store(&sequence->next, first);
        }
        atomic_store(&sequence->limit, first + SEQUENCE_BLOCK);
    }
    return status;
}

bool sequence_ready(struct sequence *sequence)
{
    return atomic_load(&sequence->next) < atomic_load(&sequence->limit);
}

uint64_t sequence_take(struct sequence *sequence)
{
    uint_fast64_t next = atomic_load(&sequence->next);

    do {
        if (next >= atomic_load(&sequence->limit)) {
            return 0;
        }
    } while (!atomic_compare_exchange_weak(&sequence->next, &next, next + 1));
    return next;
}
