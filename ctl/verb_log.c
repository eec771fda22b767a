/* sekisho log: the decisions, one a line. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "filter.h"
#include "line.h"

enum {
    FOLLOW_MS = 500,
    LAST_MOST = 100000,
    /* The daemon gives a number before it writes the decision, so that a lower one may be written
     * later: the last numbers are looked at again. */
    LOOK_BACK = 512,
    SEEN = 2 * LOOK_BACK
};

#define USAGE                                                                                      \
    "log takes [--since T] [--until T] [--client IP|RANGE] [--login L] [--from S|@DOMAIN] "        \
    "[--to R|@DOMAIN] [--reason R] [--action accept|reject|tempfail] [--number N] [--last N] "     \
    "[--follow]"

struct lines {
    const struct ctl *ctl;
    struct filter filter;
    bool follow;
    size_t last; /* 0: all */
    /* what was found */
    bool found, no_memory;
    char **kept; /* with last: the newest first */
    size_t kept_count;
    uint64_t highest, seen[SEEN];
};

static volatile sig_atomic_t ended;

static void on_signal(int number)
{
    (void)number;
    ended = 1;
}

/* -- a line --------------------------------------------------------------------------------- */

static void put_line(FILE *to, const struct statedb_decision *stored)
{
    const struct decision *decision = &stored->decision;
    const struct verdict *verdict = &decision->verdict;
    char client[IP_TEXT] = "";

    if (decision->client_known) {
        ip_text(&decision->client, client);
    }
    fprintf(to, "%s #%" PRIu64 " %s %s %s", stored->at, decision->number,
            action_name(verdict->action), reason_row(verdict->reason)->name,
            kind_name(verdict->kind));
    line_name(to, "client", client);
    line_text(to, "login", &decision->login.text, decision->login.whole);
    line_text(to, "from", &decision->sender.text, decision->sender.whole);
    line_text(to, "to", &decision->recipient.text, decision->recipient.whole);
    line_text(to, "row", &decision->row_text, 0);
    line_text(to, "queue", &decision->queue, 0);
    line_name(to, "outcome", stored->ended ? outcome_name(decision->outcome) : "");
}

/* The line without its end, to be freed; NULL: no memory. */
static char *line_of(const struct ctl *ctl, const struct statedb_decision *stored)
{
    char *line = NULL;
    size_t size;

    if (ctl->json) {
        char text[DECISION_JSON];
        return ctl_decision_line(stored, text) > 0 ? strdup(text) : NULL;
    }
    FILE *to = open_memstream(&line, &size);
    if (to == NULL) {
        return NULL;
    }
    put_line(to, stored);
    bool good = ferror(to) == 0;
    if (fclose(to) != 0 || !good) {
        free(line);
        return NULL;
    }
    return line;
}

static bool take(void *context, const struct statedb_decision *stored)
{
    struct lines *lines = context;
    uint64_t number = stored->decision.number;

    if (lines->follow && lines->seen[number % SEEN] == number) {
        return true;
    }
    char *line = line_of(lines->ctl, stored);
    if (line == NULL) {
        lines->no_memory = true;
        return false;
    }
    lines->found = true;
    lines->seen[number % SEEN] = number;
    lines->highest = number > lines->highest ? number : lines->highest;
    if (lines->kept != NULL) {
        lines->kept[lines->kept_count++] = line;
        return lines->kept_count < lines->last;
    }
    bool good = printf("%s\n", line) >= 0;
    free(line);
    return good && !ended;
}

static bool take_highest(void *context, const struct statedb_decision *stored)
{
    *(uint64_t *)context = stored->decision.number;
    return false;
}

/* -- the options ---------------------------------------------------------------------------- */

/* What is wrong with the value of an option, or NULL. */
static const char *read_option(struct lines *lines, int letter, const char *value)
{
    uint64_t number;

    if (letter != 'L') {
        return filter_option(lines->ctl, &lines->filter, letter, value);
    }
    if (!ctl_number_read(value, &number) || value[0] == '#' || number > LAST_MOST) {
        return "write a number from 1 to 100000";
    }
    lines->last = (size_t)number;
    return NULL;
}

static int read_options(struct lines *lines, int argc, char **argv)
{
    static const struct option known[] = {
        {"since", required_argument, NULL, 's'},  {"until", required_argument, NULL, 'u'},
        {"client", required_argument, NULL, 'c'}, {"login", required_argument, NULL, 'l'},
        {"from", required_argument, NULL, 'f'},   {"to", required_argument, NULL, 't'},
        {"reason", required_argument, NULL, 'r'}, {"action", required_argument, NULL, 'a'},
        {"number", required_argument, NULL, 'n'}, {"last", required_argument, NULL, 'L'},
        {"follow", no_argument, NULL, 'F'},       {NULL, 0, NULL, 0}};
    int letter, which = 0;

    opterr = 0;
    while ((letter = getopt_long(argc, argv, ":", known, &which)) != -1) {
        if (letter == ':' || letter == '?') {
            return ctl_fail(lines->ctl, CTL_USAGE, "%s %s; %s", argv[optind - 1],
                            letter == ':' ? "needs a value" : "is not an option of log", USAGE);
        }
        if (letter == 'F') {
            lines->follow = true;
            continue;
        }
        const char *wrong = read_option(lines, letter, optarg);
        if (wrong != NULL) {
            return ctl_fail(lines->ctl, CTL_USAGE, "--%s %s: %s", known[which].name, optarg, wrong);
        }
    }
    if (optind < argc) {
        return ctl_fail(lines->ctl, CTL_USAGE, "%s is not an option of log; %s", argv[optind],
                        USAGE);
    }
    return CTL_YES;
}

/* -- the search ----------------------------------------------------------------------------- */

static enum status list(struct lines *lines, struct statedb *db, struct why *why)
{
    if (lines->last > 0) {
        lines->kept = calloc(lines->last, sizeof *lines->kept);
        if (lines->kept == NULL) {
            return why_set(why, STATUS_BROKEN, "no memory for %zu lines", lines->last);
        }
        lines->filter.asked.newest_first = true;
        lines->filter.asked.most = lines->last;
    }
    enum status status = statedb_decisions(db, &lines->filter.asked, take, lines, why);
    while (lines->kept_count > 0) {
        char *line = lines->kept[--lines->kept_count];
        printf("%s\n", line);
        free(line);
    }
    free(lines->kept);
    lines->kept = NULL;
    return status;
}

/* Until a signal comes. db is replaced when the daemon has made another file. */
static enum status follow(struct lines *lines, struct statedb **db, uint64_t from, struct why *why)
{
    enum status status = STATUS_OK;

    lines->filter.asked.newest_first = false;
    lines->filter.asked.most = 0;
    while (!ended && !lines->no_memory && ferror(stdout) == 0) {
        fflush(stdout);
        ctl_pause(FOLLOW_MS);
        if (ended) {
            break;
        }
        if (*db != NULL && !statedb_same(*db)) {
            statedb_close(*db);
            *db = NULL;
        }
        if (*db == NULL && statedb_open(lines->ctl->state, STATEDB_READ, CTL_WAIT_MS, db, NULL,
                                        why) != STATUS_OK) {
            *db = NULL;
            continue; /* it is being made */
        }
        lines->filter.asked.above = from;
        if (lines->highest > LOOK_BACK && lines->highest - LOOK_BACK > from) {
            lines->filter.asked.above = lines->highest - LOOK_BACK;
        }
        status = statedb_decisions(*db, &lines->filter.asked, take, lines, why);
        if (status != STATUS_OK && status != STATUS_BUSY && statedb_same(*db)) {
            return status;
        }
    }
    return STATUS_OK;
}

int verb_log(const struct ctl *ctl, int argc, char **argv)
{
    struct lines *lines = calloc(1, sizeof *lines);
    struct sigaction action;
    struct statedb *db = NULL;
    struct why why = {""};
    uint64_t from = 0;

    if (lines == NULL) {
        return ctl_fail(ctl, CTL_UNREACHABLE, "no memory");
    }
    lines->ctl = ctl;
    int code = read_options(lines, argc, argv);
    if (code != CTL_YES) {
        free(lines);
        return code;
    }
    if (lines->follow) {
        memset(&action, 0, sizeof action);
        action.sa_handler = on_signal;
        sigemptyset(&action.sa_mask);
        sigaction(SIGINT, &action, NULL);
        sigaction(SIGTERM, &action, NULL);
    }
    enum status status = statedb_open(ctl->state, STATEDB_READ, CTL_WAIT_MS, &db, NULL, &why);
    if (status == STATUS_OK && lines->follow) {
        /* what is written from here on is new, whatever the filter lets through now */
        struct statedb_filter newest = {.newest_first = true, .most = 1};
        status = statedb_decisions(db, &newest, take_highest, &from, &why);
    }
    if (status == STATUS_OK) {
        status = list(lines, db, &why);
    }
    if (status == STATUS_OK && lines->follow) {
        status = follow(lines, &db, from, &why);
    }
    statedb_close(db);
    if (lines->no_memory) {
        status = why_set(&why, STATUS_BROKEN, "no memory for a line");
    }
    bool good = lines->found || lines->follow;
    free(lines);
    if (status != STATUS_OK) {
        return ctl_fail(ctl, CTL_UNREACHABLE, "%s", why.text);
    }
    if (!good && !ctl->json) {
        fprintf(stderr, "sekisho: no recorded decision fits\n");
    }
    return good ? CTL_YES : CTL_NO;
}
