/* What the client reads: reply code, enhanced status code and text. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "core/reply.h"

#include <inttypes.h>
#include <stdio.h>

/* ", try again in 12 minutes": rounded up, so that who comes then is let in. */
static void add_when(const struct verdict *verdict, char *to, size_t room)
{
    int64_t seconds = (verdict->limit.wait + 999) / 1000;
    const char *unit = "second";
    int64_t number = seconds;

    if (seconds > 48 * 3600) {
        unit = "day";
        number = (seconds + 86399) / 86400;
    } else if (seconds > 120 * 60) {
        unit = "hour";
        number = (seconds + 3599) / 3600;
    } else if (seconds > 120) {
        unit = "minute";
        number = (seconds + 59) / 60;
    }
    if (seconds <= 0 || verdict->limit.allowed == 0) {
        snprintf(to, room, ", try again later");
    } else {
        snprintf(to, room, ", try again in %" PRId64 " %s%s", number, unit, number == 1 ? "" : "s");
    }
}

void reply_make(const struct verdict *verdict, uint64_t number, const char *help_url,
                struct reply *reply)
{
    const struct reason_row *row = reason_row(verdict->reason);
    char shown[32] = "";

    char when[48] = "";

    reply->code = row->code;
    reply->enhanced = row->enhanced;
    if (verdict->check == CHECK_RATE && verdict->action == ACTION_DEFER) {
        add_when(verdict, when, sizeof when);
    } else if (verdict->action == ACTION_REFUSE && row->action == ACTION_DEFER) {
        reply->code = "550"; /* then reject, then block */
        reply->enhanced = "5.7.1";
    }
    if (number != 0) {
        snprintf(shown, sizeof shown, " #%" PRIu64, number);
    }
    snprintf(reply->text, sizeof reply->text, "%s%s [sekisho %s%s]%s%s", row->reply, when,
             row->name, shown, help_url[0] != '\0' ? " " : "", help_url);
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
