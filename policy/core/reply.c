/* What the client reads: reply code, enhanced status code and text. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "core/reply.h"

#include <inttypes.h>
#include <stdio.h>

void reply_make(const struct verdict *verdict, uint64_t number, const char *help_url,
                struct reply *reply)
{
    const struct reason_row *row = reason_row(verdict->reason);
    char shown[32] = "";

    reply->code = row->code;
    reply->enhanced = row->enhanced;
    if (number != 0) {
        snprintf(shown, sizeof shown, " #%" PRIu64, number);
    }
    snprintf(reply->text, sizeof reply->text, "%s [sekisho %s%s]%s%s", row->reply, row->name, shown,
             help_url[0] != '\0' ? " " : "", help_url);
}

void reply_double_percent(const char *text, char *to, size_t room)
{
    size_t used = 0;

    for (; *text != '\0' && used + 2 < room; text++) {
        if (*text == '%') {
            to[used++] = '%';
        }
        to[used++] = *text;
    }
    to[used] = '\0';
}
