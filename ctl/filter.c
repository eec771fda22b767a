/* What decisions are asked for: the options that log and replay share. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "filter.h"

#include <string.h>

static bool read_client(const char *text, char to[RANGE_TEXT])
{
    struct range range;
    struct ip ip;
    struct why why;

    if (ip_parse(text, &ip)) {
        ip_text(&ip, to);
        return true;
    }
    if (range_parse(text, strlen(text), &range, &why) != STATUS_OK) {
        return false;
    }
    range_text(&range, to);
    return true;
}

const char *filter_option(const struct ctl *ctl, struct filter *filter, int letter,
                          const char *value)
{
    struct statedb_filter *asked = &filter->asked;

    switch (letter) {
    case 's':
    case 'u':
        return ctl_since_read(ctl, value, letter == 's' ? &asked->since : &asked->until)
                   ? NULL
                   : "write 90s, 30m, 24h, 7d or UTC, 2026-11-24 03:00:00";
    case 'c':
        asked->client = filter->client;
        return read_client(value, filter->client) ? NULL : "not an IP address, nor a range of them";
    case 'l':
        asked->login = value;
        return NULL;
    case 'f':
        asked->sender = value;
        return NULL;
    case 't':
        asked->recipient = value;
        return NULL;
    case 'r':
        asked->reason = value;
        return reason_named(value) != REASON_NONE ? NULL : "not a reason";
    case 'a':
        asked->action = value;
        return strcmp(value, "accept") == 0 || strcmp(value, "reject") == 0 ||
                       strcmp(value, "tempfail") == 0
                   ? NULL
                   : "write accept, reject or tempfail";
    default:
        return ctl_number_read(value, &asked->number) ? NULL : "not the number of a decision";
    }
}
