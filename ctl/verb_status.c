/* sekisho status: does a daemon run, which policy is in force, and what was refused last. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdio.h>
#include <string.h>

#include "ctl.h"

/* What status.json of the state directory says; times are Unix seconds, 0 = never. */
struct report {
    json_int_t pid, started, generation, in_force_since, rows, bytes, refused_at, numbers;
    const char *origin, *refusal, *state_trouble;
    int refused;
};

/* The report borrows from the file's JSON, which the caller gives up. NULL: none, and why. */
static json_t *read_report(const char *path, struct report *report, struct why *why)
{
    json_error_t error;
    json_t *root = json_load_file(path, JSON_REJECT_DUPLICATES, &error);

    memset(report, 0, sizeof *report);
    report->origin = report->refusal = report->state_trouble = "";
    if (root == NULL ||
        json_unpack_ex(
            root, &error, 0, "{s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:b, s:I, s:s, s:s, s:I}", "pid",
            &report->pid, "started", &report->started, "generation", &report->generation,
            "in_force_since", &report->in_force_since, "rows", &report->rows, "bytes",
            &report->bytes, "origin", &report->origin, "refused", &report->refused, "refused_at",
            &report->refused_at, "refusal", &report->refusal, "state_trouble",
            &report->state_trouble, "numbers_reserved", &report->numbers) != 0) {
        why_set(why, STATUS_BAD, "%s: %s", path, error.text);
        json_decref(root);
        return NULL;
    }
    return root;
}

static json_t *json_time(json_int_t seconds)
{
    char text[CTL_TIME];
    return seconds != 0 ? json_string(ctl_time_text(seconds * 1000, text)) : json_null();
}

static void print_json(const struct ctl *ctl, bool runs, bool good, const struct report *report,
                       const struct why *why)
{
    json_t *answer =
        json_pack("{s:b, s:b, s:o, s:s?}", "ok", good, "running", runs, "state",
                  ctl_json_text(ctl->state), "error", report == NULL ? why->text : NULL);
    json_t *rest = NULL;

    if (report != NULL) {
        rest = json_pack("{s:I, s:o, s:I, s:o, s:I, s:I, s:s, s:b, s:o, s:s, s:s, s:I}", "pid",
                         report->pid, "started", json_time(report->started), "generation",
                         report->generation, "in_force_since", json_time(report->in_force_since),
                         "rows", report->rows, "bytes", report->bytes, "origin", report->origin,
                         "refused", report->refused, "refused_at", json_time(report->refused_at),
                         "refusal", report->refusal, "state_trouble", report->state_trouble,
                         "numbers_reserved", report->numbers);
        json_object_update(answer, rest);
        json_decref(rest);
    }
    ctl_print(answer);
}

static void print_text(bool runs, const struct report *report)
{
    char time[CTL_TIME], text[2048];

    if (runs) {
        printf("daemon   running, pid %lld, since %s UTC\n", (long long)report->pid,
               ctl_time_text(report->started * 1000, time));
    } else {
        printf("daemon   not running; what follows was so when it last ran, since %s UTC\n",
               ctl_time_text(report->started * 1000, time));
    }
    if (report->generation == 0) {
        printf("policy   none in force: everything that needs one gets 451\n");
    } else {
        printf("policy   generation %lld in force since %s UTC: %lld rows, %lld bytes, from %s\n",
               (long long)report->generation, ctl_time_text(report->in_force_since * 1000, time),
               (long long)report->rows, (long long)report->bytes,
               strcmp(report->origin, "last-good") == 0
                   ? "the last good one, kept in the state directory"
                   : ctl_plain(report->origin, text, sizeof text));
    }
    if (report->refused_at == 0) {
        printf("refused  nothing since it started\n");
    } else {
        printf("refused  %s UTC: %s%s\n", ctl_time_text(report->refused_at * 1000, time),
               ctl_plain(report->refusal, text, sizeof text),
               report->refused ? "" : " (mended since)");
    }
    printf("state    %s\n", report->state_trouble[0] != '\0'
                                ? ctl_plain(report->state_trouble, text, sizeof text)
                                : "can be written");
    printf("numbers  reserved up to %lld\n", (long long)report->numbers);
}

int verb_status(const struct ctl *ctl, int argc, char **argv)
{
    char lock[CTL_PATH], path[CTL_PATH];
    struct report report;
    struct why why = {""};

    if (argc > 1) {
        return ctl_fail(ctl, CTL_USAGE, "%s: status takes no arguments", argv[1]);
    }
    if (!ctl_beside_state(ctl, "lock", lock) || !ctl_beside_state(ctl, "status.json", path)) {
        return ctl_fail(ctl, CTL_USAGE, "--state: the name is too long");
    }
    enum ctl_daemon daemon = ctl_daemon_look(ctl, &why);
    if (daemon == CTL_DAEMON_UNKNOWN) {
        return ctl_fail(ctl, CTL_UNREACHABLE, "%s", why.text);
    }
    bool runs = daemon == CTL_DAEMON_RUNS;
    json_t *root = read_report(path, &report, &why);
    bool good = runs && root != NULL && report.generation != 0 && !report.refused &&
                strcmp(report.origin, "policy.db") == 0 && report.state_trouble[0] == '\0';
    if (ctl->json) {
        print_json(ctl, runs, good, root != NULL ? &report : NULL, &why);
    } else if (root != NULL) {
        print_text(runs, &report);
    } else if (runs) {
        printf("daemon   running, but it has written no status: %s\n", why.text);
    } else {
        printf("daemon   not running with this state directory (%s)\n", lock);
    }
    json_decref(root);
    return good ? CTL_YES : runs ? CTL_NO : CTL_UNREACHABLE;
}
