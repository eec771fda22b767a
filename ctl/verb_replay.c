/* sekisho replay: the recorded decisions judged by another policy, and what would differ. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/policy_limit.h"
#include "core/proof.h"
#include "filter.h"
#include "line.h"
#include "rehearsal.h"

enum {
    SPAN_DAYS = 7,
    LINES = 100,
    LINES_MOST = 100000,
    GROUPS_MOST = 1000, /* rows with a count of their own */
    GROUPS_SHOWN = 20,
    DAY_MS = 86400000,
    SET_BACK_MS = 5000 /* of less the order of two threads is the cause */
};

#define USAGE                                                                                      \
    "replay takes --with CANDIDATE [--since T] [--until T] [--client IP|RANGE] [--login L] "       \
    "[--from S|@DOMAIN] [--to R|@DOMAIN] [--reason R] [--action accept|reject|tempfail] "          \
    "[--number N] [--most N] [--all]"

/* What a difference comes to. */
enum change { TO_REFUSED, TO_DEFERRED, TO_PASSED, TO_OTHER, CHANGE_COUNT };

static const struct {
    const char *name, *text;
} changes[CHANGE_COUNT] = {
    {"refused", "would be refused that passed"},
    {"deferred", "would be deferred that passed"},
    {"passed", "would pass that were refused or deferred"},
    {"other", "would have another answer or reason"},
};

/* The differences that one row of the candidate makes. */
struct group {
    enum change change;
    enum action action;
    enum reason reason;
    struct rule rule;
    char text[RULE_TEXT];
    uint64_t count;
};

struct replay {
    const struct ctl *ctl;
    const char *candidate;
    struct filter filter;
    size_t most;
    bool all;
    struct rehearsal *with, *in_force; /* in_force NULL: it cannot be read, and why */
    struct why no_in_force;
    bool invalid; /* the candidate would not have loaded at a time that was replayed */
    /* the clock of the counts: goes on with the wall clock, never back */
    bool begun;
    int64_t ahead;
    struct moment now;
    /* what was found */
    uint64_t judged, others, passed_over, already, only_in_force;
    uint64_t count[CHANGE_COUNT], differ, listed;
    struct group *groups;
    size_t group_count;
    uint64_t more_groups; /* differences of rows that found no place */
    char **lines;
    json_t *list;
};

/* -- the options ---------------------------------------------------------------------------- */

static const char *read_most(struct replay *replay, const char *value)
{
    uint64_t number = 0;

    if (strcmp(value, "0") != 0 &&
        (!ctl_number_read(value, &number) || value[0] == '#' || number > LINES_MOST)) {
        return "write a number from 0 to 100000";
    }
    replay->most = (size_t)number;
    return NULL;
}

static int read_options(struct replay *replay, int argc, char **argv)
{
    static const struct option known[] = {{"with", required_argument, NULL, 'w'},
                                          {"since", required_argument, NULL, 's'},
                                          {"until", required_argument, NULL, 'u'},
                                          {"client", required_argument, NULL, 'c'},
                                          {"login", required_argument, NULL, 'l'},
                                          {"from", required_argument, NULL, 'f'},
                                          {"to", required_argument, NULL, 't'},
                                          {"reason", required_argument, NULL, 'r'},
                                          {"action", required_argument, NULL, 'a'},
                                          {"number", required_argument, NULL, 'n'},
                                          {"most", required_argument, NULL, 'm'},
                                          {"all", no_argument, NULL, 'A'},
                                          {NULL, 0, NULL, 0}};
    const struct ctl *ctl = replay->ctl;
    struct statedb_filter *asked = &replay->filter.asked;
    int letter, which = 0;

    asked->since = ctl->now.wall - SPAN_DAYS * (int64_t)DAY_MS;
    asked->until = ctl->now.wall;
    replay->most = LINES;
    opterr = 0;
    while ((letter = getopt_long(argc, argv, ":", known, &which)) != -1) {
        const char *wrong = NULL;
        if (letter == ':' || letter == '?') {
            return ctl_fail(ctl, CTL_USAGE, "%s %s; %s", argv[optind - 1],
                            letter == ':' ? "needs a value" : "is not an option of replay", USAGE);
        }
        if (letter == 'A') {
            replay->all = true;
        } else if (letter == 'w') {
            replay->candidate = optarg;
        } else if (letter == 'm') {
            wrong = read_most(replay, optarg);
        } else {
            wrong = filter_option(ctl, &replay->filter, letter, optarg);
        }
        if (wrong != NULL) {
            return ctl_fail(ctl, CTL_USAGE, "--%s %s: %s", known[which].name, optarg, wrong);
        }
    }
    if (optind < argc) {
        return ctl_fail(ctl, CTL_USAGE, "%s is not an option of replay; %s", argv[optind], USAGE);
    }
    if (replay->candidate == NULL) {
        return ctl_fail(ctl, CTL_USAGE, "--with is missing; %s", USAGE);
    }
    if (asked->since >= asked->until) {
        return ctl_fail(ctl, CTL_USAGE, "--since is not before --until");
    }
    return CTL_YES;
}

/* -- the policies --------------------------------------------------------------------------- */

static enum status open_policy(const struct replay *replay, const char *path,
                               struct rehearsal **rehearsal, struct why *why)
{
    struct ctl_policy opened;
    enum status status = ctl_policy_open(path, replay->ctl->now.wall, &opened, why);

    if (status == STATUS_OK) {
        status = proof_run(opened.policy, NULL, NULL, NULL, why);
    }
    if (status == STATUS_OK) {
        struct policy *policy = opened.policy;
        opened.policy = NULL;
        status = rehearsal_open(policy, rehearsal, why);
    }
    ctl_policy_close(&opened);
    return status;
}

static int open_policies(struct replay *replay)
{
    struct why why = {""};
    enum status status = open_policy(replay, replay->candidate, &replay->with, &why);

    if (status == STATUS_BAD) {
        struct ctl candidate = *replay->ctl;
        char *word = NULL;
        candidate.policy = replay->candidate;
        int code = verb_check(&candidate, 1, &word); /* every fault, as check has it */
        return code != CTL_YES ? code : ctl_fail(replay->ctl, CTL_INVALID, "%s", why.text);
    }
    if (status != STATUS_OK) {
        return ctl_fail(replay->ctl, ctl_exit_of(status), "%s", why.text);
    }
    if (open_policy(replay, replay->ctl->policy, &replay->in_force, &replay->no_in_force) !=
        STATUS_OK) {
        replay->in_force = NULL;
    }
    return CTL_YES;
}

/* So much earlier it begins to count as the longest limit of the two looks back; a day, for what is
 * remembered of blocks and traps, at least. */
static int64_t warm_up(const struct replay *replay)
{
    int64_t with = policy_limits_longest(rehearsal_policy(replay->with));
    int64_t in_force =
        replay->in_force != NULL ? policy_limits_longest(rehearsal_policy(replay->in_force)) : 0;
    int64_t longest = (with > in_force ? with : in_force) * 1000;

    return longest > DAY_MS ? longest : DAY_MS;
}

/* -- what differs --------------------------------------------------------------------------- */

static bool same(const struct verdict *one, const struct verdict *other)
{
    return one->action == other->action && one->reason == other->reason;
}

static enum change change_of(const struct verdict *was, const struct verdict *would)
{
    if (was->action == ACTION_PASS && would->action == ACTION_REFUSE) {
        return TO_REFUSED;
    }
    if (was->action == ACTION_PASS && would->action == ACTION_DEFER) {
        return TO_DEFERRED;
    }
    return was->action != ACTION_PASS && would->action == ACTION_PASS ? TO_PASSED : TO_OTHER;
}

static void count_group(struct replay *replay, enum change change, const struct verdict *would)
{
    for (size_t i = 0; i < replay->group_count; i++) {
        struct group *group = &replay->groups[i];
        if (group->change == change && group->action == would->action &&
            group->reason == would->reason && group->rule.table == would->rule.table &&
            group->rule.row == would->rule.row) {
            group->count++;
            return;
        }
    }
    if (replay->group_count == GROUPS_MOST) {
        replay->more_groups++;
        return;
    }
    struct group *group = &replay->groups[replay->group_count++];
    *group = (struct group){.change = change,
                            .action = would->action,
                            .reason = would->reason,
                            .rule = would->rule,
                            .count = 1};
    policy_rule_text(rehearsal_policy(replay->with), would->rule, group->text);
}

/* NULL: no memory. */
static char *line_of(const struct replay *replay, const struct statedb_decision *stored,
                     const struct verdict *would, const struct verdict *in_force)
{
    const struct decision *decision = &stored->decision;
    char client[IP_TEXT] = "", rule[RULE_TEXT], *line = NULL;
    size_t size;
    FILE *to = open_memstream(&line, &size);

    if (to == NULL) {
        return NULL;
    }
    if (decision->client_known) {
        ip_text(&decision->client, client);
    }
    fprintf(to, "%s #%" PRIu64 " %s %s -> %s %s", stored->at, decision->number,
            action_name(decision->verdict.action), reason_row(decision->verdict.reason)->name,
            action_name(would->action), reason_row(would->reason)->name);
    line_name(to, "client", client);
    line_text(to, "login", &decision->login.text, decision->login.whole);
    line_text(to, "from", &decision->sender.text, decision->sender.whole);
    line_text(to, "to", &decision->recipient.text, decision->recipient.whole);
    policy_rule_text(rehearsal_policy(replay->with), would->rule, rule);
    line_text(to, "row", &(struct text){rule, strlen(rule)}, 0);
    line_text(to, "queue", &decision->queue, 0);
    if (in_force != NULL && !same(in_force, &decision->verdict)) {
        fprintf(to, " in-force=\"%s %s\"", action_name(in_force->action),
                reason_row(in_force->reason)->name);
    }
    bool good = ferror(to) == 0;
    if (fclose(to) != 0 || !good) {
        free(line);
        return NULL;
    }
    return line;
}

static json_t *json_verdict(const struct policy *policy, const struct verdict *verdict)
{
    return json_pack("{s:s, s:s, s:o}", "action", action_name(verdict->action), "reason",
                     reason_row(verdict->reason)->name, "row",
                     ctl_json_rule(policy, verdict->rule));
}

static enum status list(struct replay *replay, const struct statedb_decision *stored,
                        const struct verdict *would, const struct verdict *in_force, bool already,
                        struct why *why)
{
    bool good;

    if (replay->listed >= replay->most) {
        return STATUS_OK;
    }
    if (replay->ctl->json) {
        good = json_array_append_new(
                   replay->list,
                   json_pack("{s:s, s:b, s:o, s:o, s:o}", "change",
                             changes[change_of(&stored->decision.verdict, would)].name, "already",
                             already, "decision", ctl_json_decision(stored), "would",
                             json_verdict(rehearsal_policy(replay->with), would), "in_force",
                             in_force != NULL
                                 ? json_verdict(rehearsal_policy(replay->in_force), in_force)
                                 : json_null())) == 0;
    } else {
        replay->lines[replay->listed] = line_of(replay, stored, would, in_force);
        good = replay->lines[replay->listed] != NULL;
    }
    if (!good) {
        return why_set(why, STATUS_BROKEN, "no memory for the list");
    }
    replay->listed++;
    return STATUS_OK;
}

static enum status compare(struct replay *replay, const struct statedb_decision *stored,
                           const struct verdict *would, const struct verdict *in_force,
                           struct why *why)
{
    const struct verdict *was = &stored->decision.verdict;
    bool already = in_force != NULL && same(would, in_force);

    replay->judged++;
    if (same(was, would)) {
        replay->only_in_force += in_force != NULL && !already;
        return STATUS_OK;
    }
    if (already) {
        replay->already++;
    } else {
        enum change change = change_of(was, would);
        replay->differ++;
        replay->count[change]++;
        count_group(replay, change, would);
    }
    return !already || replay->all ? list(replay, stored, would, in_force, already, why)
                                   : STATUS_OK;
}

/* -- the course of time --------------------------------------------------------------------- */

static void set_clock(struct replay *replay, int64_t wall)
{
    struct moment *now = &replay->now;

    if (!replay->begun) {
        replay->begun = true;
        now->steady = wall > 0 ? wall : 0;
        replay->ahead = now->steady - wall;
    } else if (wall + replay->ahead < now->steady - SET_BACK_MS) {
        replay->ahead = now->steady - wall;
    } else if (wall + replay->ahead > now->steady) {
        now->steady = wall + replay->ahead;
    }
    now->wall = wall;
}

/* What administrators lifted and reset before this moment. */
static enum status obey(struct replay *replay, struct statedb *db, struct statedb_request *request,
                        bool *found, struct why *why)
{
    enum status status = STATUS_OK;

    while (*found && request->at <= replay->now.wall && status == STATUS_OK) {
        rehearsal_obey(replay->with, request, replay->now);
        if (replay->in_force != NULL) {
            rehearsal_obey(replay->in_force, request, replay->now);
        }
        status = statedb_next_lift(db, request->id, request, found, why);
    }
    return status;
}

static enum status judge(struct replay *replay, const struct course_step *step, struct why *why)
{
    struct verdict would, in_force;
    enum status status = rehearsal_judge(replay->with, step, replay->now, &would, why);

    replay->invalid = status == STATUS_BAD;
    if (status == STATUS_OK && replay->in_force != NULL) {
        status =
            rehearsal_judge(replay->in_force, step, replay->now, &in_force, &replay->no_in_force);
        if (status == STATUS_BAD) { /* it was another one then */
            rehearsal_close(replay->in_force);
            replay->in_force = NULL;
            status = STATUS_OK;
        } else if (status != STATUS_OK) {
            *why = replay->no_in_force;
        }
    }
    if (status != STATUS_OK || !step->fits) {
        replay->others += status == STATUS_OK;
        return status;
    }
    return compare(replay, &step->stored, &would, replay->in_force != NULL ? &in_force : NULL, why);
}

static enum status go_through(struct replay *replay, struct statedb *db, struct why *why)
{
    int64_t from = replay->filter.asked.since - warm_up(replay);
    const struct course_step *step = NULL;
    struct statedb_request request;
    struct course *course = NULL;
    bool found = false;
    enum status status = statedb_next_lift(db, 0, &request, &found, why);

    while (status == STATUS_OK && found && request.at < from) {
        status = statedb_next_lift(db, request.id, &request, &found, why);
    }
    if (status == STATUS_OK) {
        status = course_open(db, &replay->filter.asked, from > 0 ? from : 1, &course, why);
    }
    while (status == STATUS_OK) {
        status = course_next(course, &step, why);
        if (status != STATUS_OK || step == NULL) {
            break;
        }
        set_clock(replay, step->stored.decision.wall);
        status = obey(replay, db, &request, &found, why);
        if (rehearsal_passes_over(&step->stored.decision)) {
            replay->passed_over += step->fits;
        } else if (status == STATUS_OK) {
            status = judge(replay, step, why);
        }
    }
    course_close(course);
    return status;
}

/* -- the answer ----------------------------------------------------------------------------- */

static int by_count(const void *one, const void *other)
{
    const struct group *a = one, *b = other;

    if (a->count != b->count) {
        return a->count < b->count ? 1 : -1;
    }
    return a->rule.table != b->rule.table
               ? (a->rule.table > b->rule.table ? 1 : -1)
               : (a->rule.row > b->rule.row) - (a->rule.row < b->rule.row);
}

static uint64_t listable(const struct replay *replay)
{
    return replay->differ + (replay->all ? replay->already : 0);
}

static void print_groups(const struct replay *replay)
{
    uint64_t rest = replay->more_groups;

    printf("by row of the candidate\n");
    for (size_t i = 0; i < replay->group_count; i++) {
        const struct group *group = &replay->groups[i];
        if (i >= GROUPS_SHOWN) {
            rest += group->count;
            continue;
        }
        printf("%8" PRIu64 "  %s %s, %s%s\n", group->count, action_name(group->action),
               reason_row(group->reason)->name, group->text,
               group->change == TO_OTHER ? "; had not passed" : "");
    }
    if (rest > 0) {
        printf("%8" PRIu64 "  by other rows\n", rest);
    }
}

static void print_text(const struct replay *replay)
{
    char since[CTL_TIME], until[CTL_TIME], shown[1024];

    printf("%" PRIu64 " decision%s from %s to %s UTC, judged by %s\n", replay->judged,
           replay->judged == 1 ? "" : "s", ctl_time_text(replay->filter.asked.since, since),
           ctl_time_text(replay->filter.asked.until, until),
           ctl_plain(replay->candidate, shown, sizeof shown));
    for (int change = 0; change < CHANGE_COUNT; change++) {
        printf("%8" PRIu64 "  %s\n", replay->count[change], changes[change].text);
    }
    if (replay->already > 0) {
        printf("%8" PRIu64 "  more differ from the record, and would with the policy in force "
               "too%s\n",
               replay->already, replay->all ? "" : "; --all lists them");
    }
    if (replay->only_in_force > 0) {
        printf("%8" PRIu64 "  are as recorded, and would not be with the policy in force\n",
               replay->only_in_force);
    }
    if (replay->passed_over > 0) {
        printf("%8" PRIu64 "  were not judged: no policy, no record or no memory then\n",
               replay->passed_over);
    }
    if (replay->others > 0) {
        printf("%8" PRIu64 "  earlier or other decisions were judged for their counts only\n",
               replay->others);
    }
    if (replay->in_force == NULL) {
        printf("not compared with the policy in force: %s\n",
               ctl_plain(replay->no_in_force.text, shown, sizeof shown));
    }
    if (replay->differ > 0) {
        print_groups(replay);
    }
    for (uint64_t i = 0; i < replay->listed; i++) {
        printf("%s\n", replay->lines[i]);
    }
    if (listable(replay) > replay->listed) {
        printf("%" PRIu64 " more are not listed (--most N)\n", listable(replay) - replay->listed);
    }
}

static void print_json(struct replay *replay)
{
    json_t *groups = json_array(), *counts = json_object();
    char since[CTL_TIME], until[CTL_TIME];
    json_t *list = replay->list;

    for (int change = 0; change < CHANGE_COUNT; change++) {
        json_object_set_new(counts, changes[change].name,
                            json_integer((json_int_t)replay->count[change]));
    }
    for (size_t i = 0; i < replay->group_count; i++) {
        const struct group *group = &replay->groups[i];
        json_array_append_new(
            groups, json_pack("{s:I, s:s, s:s, s:s, s:o}", "count", (json_int_t)group->count,
                              "change", changes[group->change].name, "action",
                              action_name(group->action), "reason", reason_row(group->reason)->name,
                              "row", ctl_json_rule(rehearsal_policy(replay->with), group->rule)));
    }
    replay->list = NULL;
    json_t *answer = json_pack(
        "{s:b, s:o, s:s, s:s, s:I, s:I, s:o, s:I, s:I, s:I, s:I}", "ok", replay->differ == 0,
        "candidate", ctl_json_text(replay->candidate), "since",
        ctl_time_text(replay->filter.asked.since, since), "until",
        ctl_time_text(replay->filter.asked.until, until), "judged", (json_int_t)replay->judged,
        "differ", (json_int_t)replay->differ, "counts", counts, "already",
        (json_int_t)replay->already, "only_in_force", (json_int_t)replay->only_in_force,
        "not_judged", (json_int_t)replay->passed_over, "counted_only", (json_int_t)replay->others);
    json_t *rest = json_pack("{s:s?, s:o, s:I, s:o, s:I}", "in_force_error",
                             replay->in_force == NULL ? replay->no_in_force.text : NULL, "rows",
                             groups, "more_rows", (json_int_t)replay->more_groups, "differences",
                             list, "not_listed", (json_int_t)(listable(replay) - replay->listed));
    if (answer != NULL && json_object_update(answer, rest) != 0) {
        json_decref(answer);
        answer = NULL;
    }
    json_decref(rest);
    ctl_print(answer);
}

static void close_all(struct replay *replay)
{
    for (uint64_t i = 0; replay->lines != NULL && i < replay->listed; i++) {
        free(replay->lines[i]);
    }
    free(replay->lines);
    free(replay->groups);
    json_decref(replay->list);
    rehearsal_close(replay->with);
    rehearsal_close(replay->in_force);
}

static enum status make_room(struct replay *replay, struct why *why)
{
    replay->groups = calloc(GROUPS_MOST, sizeof *replay->groups);
    replay->lines = calloc(replay->most + 1, sizeof *replay->lines);
    replay->list = json_array();
    return replay->groups != NULL && replay->lines != NULL && replay->list != NULL
               ? STATUS_OK
               : why_set(why, STATUS_BROKEN, "no memory for the list");
}

static int fail(const struct replay *replay, const struct why *why)
{
    char at[CTL_TIME];

    if (!replay->invalid) {
        return ctl_fail(replay->ctl, CTL_UNREACHABLE, "%s", why->text);
    }
    return ctl_fail(replay->ctl, CTL_INVALID, "%s: would not have loaded at %s UTC: %s",
                    replay->candidate, ctl_time_text(replay->now.wall, at), why->text);
}

int verb_replay(const struct ctl *ctl, int argc, char **argv)
{
    struct replay replay = {.ctl = ctl};
    struct statedb *db = NULL;
    struct why why = {""};

    int code = read_options(&replay, argc, argv);
    if (code == CTL_YES) {
        code = open_policies(&replay);
    }
    if (code != CTL_YES) {
        close_all(&replay);
        return code;
    }
    enum status status = make_room(&replay, &why);
    if (status == STATUS_OK) {
        status = statedb_open(ctl->state, STATEDB_READ, CTL_WAIT_MS, &db, NULL, &why);
    }
    if (status == STATUS_OK) {
        status = go_through(&replay, db, &why);
    }
    statedb_close(db);
    if (status == STATUS_OK) {
        qsort(replay.groups, replay.group_count, sizeof *replay.groups, by_count);
        if (ctl->json) {
            print_json(&replay);
        } else {
            print_text(&replay);
        }
        code = replay.differ > 0 ? CTL_NO : CTL_YES;
    } else {
        code = fail(&replay, &why);
    }
    close_all(&replay);
    return code;
}
