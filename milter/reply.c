/* What the client reads: reply code, enhanced status code and text. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "reply.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

void reply_make(const struct judged *judged, struct reply *reply)
{
    const struct reason_row *row = reason_row(judged->verdict.reason);
    char number[32] = "";

    reply->code = row->code;
    reply->enhanced = row->enhanced;
    if (judged->number != 0) {
        snprintf(number, sizeof number, " #%" PRIu64, judged->number);
    }
    snprintf(reply->text, sizeof reply->text, "%s [sekisho %s%s]%s%s", row->reply, row->name, number,
             judged->help_url[0] != '\0' ? " " : "", judged->help_url);
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
