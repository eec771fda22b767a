/* sekisho usage: how near to which limit. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "counted.h"
#include "nearest.h"
#include "store/statedb_counter.h"

#define USAGE "usage takes nothing, or one SUBJECT as usage shows it, or reset SUBJECT"

/* -- the answer ----------------------------------------------------------------------------- */

static void print_text(const struct nearest *nearest, const char *subject)
{
    char shown[4 * SUBJECT_TEXT], name[512], rule[RULE_TEXT];

    for (size_t i = 0; i < nearest->count; i++) {
        const struct nearest_entry *entry = &nearest->entries[i];
        printf("%s  %" PRIu64 " of %" PRIu64 " %s in %" PRIu32 " seconds%s, %s: %s\n",
               ctl_plain(entry->subject, shown, sizeof shown), entry->count, entry->allowed,
               counts_name(entry->limit.counts), entry->seconds,
               entry->observed ? ", only observed" : "", ctl_plain(entry->name, name, sizeof name),
               policy_rule_text(nearest->policy, entry->limit.rule, rule));
    }
    if (nearest->more) {
        printf("and more, which are less near their limits\n");
    }
    if (nearest->count == 0 && subject != NULL) {
        printf("%s: nothing is counted\n", ctl_plain(subject, shown, sizeof shown));
    } else if (nearest->count == 0) {
        printf("nothing is counted just now\n");
    }
}

static json_t *json_entry(const struct nearest *nearest, const struct nearest_entry *entry)
{
    char group[24];

    snprintf(group, sizeof group, "%016" PRIx64, entry->group);
    return json_pack("{s:o, s:I, s:I, s:I, s:s, s:o, s:o, s:o, s:b}", "subject",
                     ctl_json_text(entry->subject), "count", (json_int_t)entry->count, "allowed",
                     (json_int_t)entry->allowed, "seconds", (json_int_t)entry->seconds, "group",
                     group, "counts",
                     entry->named ? json_string(counts_name(entry->limit.counts)) : json_null(),
                     "rule", entry->named ? ctl_json_text(entry->name) : json_null(), "row",
                     entry->named ? ctl_json_rule(nearest->policy, entry->limit.rule) : json_null(),
                     "observed", entry->observed);
}

static void print_json(const struct nearest *nearest, bool fresh, const char *note, int64_t written)
{
    char time[CTL_TIME];
    json_t *list = json_array();

    for (size_t i = 0; i < nearest->count; i++) {
        json_array_append_new(list, json_entry(nearest, &nearest->entries[i]));
    }
    ctl_print(json_pack("{s:b, s:b, s:s, s:o, s:b, s:o}", "ok", 1, "fresh", fresh, "note", note,
                        "written",
                        written != 0 ? json_string(ctl_time_text(written, time)) : json_null(),
                        "more", nearest->more, "counters", list));
}

/* -- the verb ------------------------------------------------------------------------------- */

/* Has the daemon write its counters down. Returns the sentence that says why it has not, "" when it
 * has; db is opened in any case where status is STATUS_OK. */
static const char *sync_counters(const struct ctl *ctl, struct statedb **db, enum status *status,
                                 struct why *why)
{
    struct statedb_request request = {.verb = "sync"};
    struct why ignored = {""};
    enum ctl_asked asked = CTL_ASKED_FAILED;

    if (ctl_daemon_look(ctl, &ignored) == CTL_DAEMON_NONE) {
        asked = CTL_ASKED_NO_DAEMON;
    } else if (statedb_open(ctl->state, STATEDB_TOOL, CTL_WAIT_MS, db, NULL, &ignored) ==
               STATUS_OK) {
        asked = ctl_ask(ctl, *db, &request, false, &ignored);
        statedb_close(*db);
        *db = NULL;
    }
    *status = statedb_open(ctl->state, STATEDB_READ, CTL_WAIT_MS, db, NULL, why);
    if (asked == CTL_ASKED_ANSWERED && request.done) {
        return "";
    }
    return asked == CTL_ASKED_NO_DAEMON ? "no daemon runs: the figures are from when it last ran"
           : asked == CTL_ASKED_SILENT || asked == CTL_ASKED_ANSWERED
               ? "the daemon has not written its counters down now: the figures may be old"
               : "the daemon could not be asked: the figures may be old";
}

static int show(const struct ctl *ctl, const char *subject)
{
    struct ctl_policy opened = {NULL, NULL};
    struct statedb *db = NULL;
    struct subjects subjects;
    struct why why = {""};
    char canonical[SUBJECT_TEXT], kept[LEDGER_SUBJECT];
    enum status status;
    int64_t written = 0;
    bool relay;
    const char *note = sync_counters(ctl, &db, &status, &why);

    if (status != STATUS_OK) {
        return ctl_fail(ctl, CTL_UNREACHABLE, "%s", why.text);
    }
    struct nearest *nearest = calloc(1, sizeof *nearest);
    if (nearest == NULL) {
        statedb_close(db);
        return ctl_fail(ctl, CTL_UNREACHABLE, "no memory");
    }
    status = ctl_policy_open(ctl->policy, ctl->now.wall, &opened, &why);
    int code = ctl_exit_of(status);
    if (status == STATUS_OK) {
        nearest->policy = opened.policy;
        nearest->unnamed = ctl->json;
        nearest->most = subject != NULL ? NEAREST_MOST : NEAREST_SHOWN;
        /* sender:... and everyone are taken as they are */
        bool known = subject != NULL &&
                     subject_parse(opened.policy, subject, &subjects, &relay, canonical, NULL) ==
                         STATUS_OK &&
                     !relay;
        if (subject != NULL) {
            ledger_subject(known ? canonical : subject, kept);
            nearest->subject = kept;
        }
        status = counted_clock(db, ctl->now.wall, &nearest->now, &written, &why);
    }
    if (status == STATUS_OK) {
        status = statedb_counters(db, nearest_take, nearest, &why);
    }
    statedb_close(db);
    if (status == STATUS_OK && ctl->json) {
        print_json(nearest, note[0] == '\0', note, written);
    } else if (status == STATUS_OK) {
        if (note[0] != '\0') {
            char time[CTL_TIME];
            printf("%s%s%s\n", note, written != 0 ? ", written at UTC " : "",
                   written != 0 ? ctl_time_text(written, time) : "");
        }
        print_text(nearest, subject);
    }
    bool none = subject != NULL && nearest->count == 0;
    ctl_policy_close(&opened);
    free(nearest);
    if (status != STATUS_OK) {
        return ctl_fail(ctl, code != CTL_YES ? code : CTL_UNREACHABLE, "%s", why.text);
    }
    return none ? CTL_NO : CTL_YES;
}

int verb_usage(const struct ctl *ctl, int argc, char **argv)
{
    struct statedb_request request = {.verb = "reset"};

    if (argc == 3 && strcmp(argv[1], "reset") == 0) {
        if (strlen(argv[2]) >= sizeof request.subject) {
            return ctl_fail(ctl, CTL_USAGE, "SUBJECT is longer than %zu octets",
                            sizeof request.subject - 1);
        }
        if (strncmp(argv[2], "client:", 7) != 0 && strncmp(argv[2], "identity:", 9) != 0) {
            return ctl_fail(ctl, CTL_USAGE, "%s: write client:IP or identity:NAME", argv[2]);
        }
        memcpy(request.subject, argv[2], strlen(argv[2]) + 1);
        return ctl_ask_print(ctl, &request, true);
    }
    if (argc > 2 || (argc == 2 && (strcmp(argv[1], "reset") == 0 || argv[1][0] == '-'))) {
        return ctl_fail(ctl, CTL_USAGE, USAGE);
    }
    return show(ctl, argc == 2 ? argv[1] : NULL);
}
