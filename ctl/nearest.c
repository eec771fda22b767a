/* The counters that are nearest to their limits. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "nearest.h"

#include <string.h>

static uint64_t count_now(const struct ledger_row *row, int64_t now)
{
    int64_t bucket = now >= 0 ? now / ledger_width(row->seconds) : row->bucket;
    uint64_t count = 0;

    for (int64_t i = 0; i < LEDGER_BUCKETS; i++) {
        if (bucket - (row->bucket - i) < LEDGER_BUCKETS) {
            count += row->count[i];
        }
    }
    return count;
}

static double nearness(const struct nearest_entry *entry)
{
    return (double)entry->count / (entry->allowed > 0 ? (double)entry->allowed : 0.5);
}

bool nearest_take(void *context, const struct ledger_row *row)
{
    struct nearest *nearest = context;
    struct nearest_entry entry = {.name = ""};

    if (row->place < 0 || row->hash == 0 || row->seconds == 0 ||
        (nearest->subject != NULL && strcmp(nearest->subject, row->subject) != 0)) {
        return true;
    }
    entry.count = count_now(row, nearest->now);
    entry.group = row->group;
    entry.allowed = row->allowed;
    entry.seconds = row->seconds;
    entry.named =
        policy_limit_named(nearest->policy, row->group, row->allowed, &entry.limit, &entry.name);
    if (!entry.named) {
        entry.observed = entry.named = policy_limit_named(nearest->policy, ~row->group,
                                                          row->allowed, &entry.limit, &entry.name);
    }
    if ((entry.count == 0 && nearest->subject == NULL) || (!entry.named && !nearest->unnamed)) {
        return true;
    }
    memcpy(entry.subject, row->subject, sizeof entry.subject);
    entry.subject[sizeof entry.subject - 1] = '\0';

    /* the last falls off */
    size_t at = nearest->count;
    while (at > 0 && nearness(&nearest->entries[at - 1]) < nearness(&entry)) {
        at--;
    }
    if (nearest->count == nearest->most) {
        nearest->more = true;
        if (at == nearest->count) {
            return true;
        }
        nearest->count--;
    }
    memmove(&nearest->entries[at + 1], &nearest->entries[at],
            (nearest->count - at) * sizeof nearest->entries[0]);
    nearest->entries[at] = entry;
    nearest->count++;
    return true;
}
