/* sekisho explain: how a session would be judged, check by check; and what a reason means. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/decide.h"
#include "core/proof.h"
#include "core/reply.h"
#include "counted.h"

enum { SHOWN_ROOM = 1400 };

#define USAGE                                                                                      \
    "explain takes --client IP [--helo NAME] [--login L | --window L] --from S --to R [--at "      \
    "TIME] "                                                                                       \
    "[--listener IP] [--host NAME], or a NUMBER, or a REASON"

/* What was asked on the command line. */
struct question {
    const char *client, *helo, *login, *window, *from, *to, *at, *listener, *host;
    struct facts facts;
    int64_t wall;
};

/* What came out: at the milter and at the permit door. */
struct answer {
    const struct ctl_policy *opened;
    struct verdict milter, door;
    bool door_asked; /* Postfix and Sendmail ask it for recipients elsewhere only */
    bool passes;
    struct facts door_facts;
    struct counted counted;
    struct why counted_why; /* why nothing of the state is known, "" if it is, or is not asked */
    bool edit_found;
    struct ctl_edit edit;
    struct why edit_why;
};

/* -- reasons -------------------------------------------------------------------------------- */

static int unknown_reason(const struct ctl *ctl, const char *name)
{
    char shown[256];

    if (ctl->json) {
        json_t *list = json_array();
        for (unsigned i = REASON_NONE + 1; i < REASON_COUNT; i++) {
            json_array_append_new(list, json_string(reason_row((enum reason)i)->name));
        }
        ctl_print(json_pack("{s:b, s:o, s:o}", "ok", 0, "error",
                            json_sprintf("%s: not a reason", ctl_plain(name, shown, sizeof shown)),
                            "reasons", list));
        return CTL_USAGE;
    }
    ctl_fail(ctl, CTL_USAGE, "%s: not a reason; there are", name);
    for (unsigned i = REASON_NONE + 1; i < REASON_COUNT; i++) {
        const struct reason_row *row = reason_row((enum reason)i);
        fprintf(stderr, "  %-21s %s\n", row->name, row->reply[0] != '\0' ? row->reply : row->cause);
    }
    return CTL_USAGE;
}

static int explain_reason(const struct ctl *ctl, const char *name)
{
    enum reason reason = reason_named(name);
    const struct reason_row *row = reason_row(reason);
    bool pass = row->action == ACTION_PASS;

    if (reason == REASON_NONE) {
        return unknown_reason(ctl, name);
    }
    if (ctl->json) {
        ctl_print(json_pack("{s:b, s:s, s:s, s:s*, s:s*, s:s*, s:s, s:s*}", "ok", 1, "reason",
                            row->name, "action", action_name(row->action), "code",
                            pass ? NULL : row->code, "enhanced", pass ? NULL : row->enhanced,
                            "text", pass ? NULL : row->reply, "cause", row->cause, "remedy",
                            pass ? NULL : row->remedy));
        return CTL_YES;
    }
    printf("%s: %s", row->name, action_name(row->action));
    if (!pass) {
        printf(", %s %s %s", row->code, row->enhanced, row->reply);
    }
    printf("\ncause   %s\n", row->cause);
    if (!pass) {
        printf("remedy  %s\n", row->remedy);
    }
    return CTL_YES;
}

/* -- the question --------------------------------------------------------------------------- */

static struct text text_of(const char *text)
{
    return (struct text){text, strlen(text)};
}

/* The options; CTL_YES, or what ctl_fail said. */
static int read_question(const struct ctl *ctl, int argc, char **argv, struct question *question)
{
    static const struct option known[] = {
        {"client", required_argument, NULL, 'c'}, {"helo", required_argument, NULL, 'h'},
        {"login", required_argument, NULL, 'l'},  {"window", required_argument, NULL, 'w'},
        {"from", required_argument, NULL, 'f'},   {"to", required_argument, NULL, 't'},
        {"at", required_argument, NULL, 'a'},     {"listener", required_argument, NULL, 'i'},
        {"host", required_argument, NULL, 'n'},   {NULL, 0, NULL, 0}};
    int letter;

    opterr = 0;
    while ((letter = getopt_long(argc, argv, ":", known, NULL)) != -1) {
        const char **to = letter == 'c'   ? &question->client
                          : letter == 'h' ? &question->helo
                          : letter == 'l' ? &question->login
                          : letter == 'w' ? &question->window
                          : letter == 'f' ? &question->from
                          : letter == 't' ? &question->to
                          : letter == 'a' ? &question->at
                          : letter == 'i' ? &question->listener
                          : letter == 'n' ? &question->host
                                          : NULL;
        if (to == NULL) {
            return ctl_fail(ctl, CTL_USAGE, "%s %s; %s", argv[optind - 1],
                            letter == ':' ? "needs a value" : "is not an option of explain", USAGE);
        }
        *to = optarg;
    }
    if (optind < argc) {
        return ctl_fail(ctl, CTL_USAGE, "%s is not an option of explain; %s", argv[optind], USAGE);
    }
    if (question->client == NULL || question->from == NULL || question->to == NULL) {
        return ctl_fail(ctl, CTL_USAGE, "%s is missing; %s",
                        question->client == NULL ? "--client"
                        : question->from == NULL ? "--from (the empty sender is '<>')"
                                                 : "--to",
                        USAGE);
    }
    if (question->login != NULL && question->window != NULL) {
        return ctl_fail(ctl, CTL_USAGE,
                        "--login and --window: a login wins over a window, say one");
    }
    question->facts.client_known = ip_parse(question->client, &question->facts.client);
    if (!question->facts.client_known && strcmp(question->client, "unknown") != 0) {
        return ctl_fail(ctl, CTL_USAGE, "--client %s: not an IP address, nor the word unknown",
                        question->client);
    }
    if (question->listener != NULL) {
        question->facts.listener_known = ip_parse(question->listener, &question->facts.listener);
        if (!question->facts.listener_known) {
            return ctl_fail(ctl, CTL_USAGE, "--listener %s: not an IP address", question->listener);
        }
    }
    question->wall = ctl->now.wall;
    if (question->at != NULL && !ctl_time_read(question->at, &question->wall)) {
        return ctl_fail(ctl, CTL_USAGE,
                        "--at %s: write UTC, 2026-11-24 03:00:00 or 2026-11-24T03:00:00Z",
                        question->at);
    }
    return CTL_YES;
}

static void judge(const struct ctl *ctl, struct question *question, const struct ctl_policy *opened,
                  struct answer *answer)
{
    struct usage *usage = &answer->counted.usage;
    struct facts *facts = &question->facts;

    memset(answer, 0, sizeof *answer);
    answer->opened = opened;
    /* The MTA says its own name to every milter; sekisho init has put it into own_name. */
    if (question->host == NULL) {
        question->host = policy_own_name(opened->policy, 0, NULL);
    }
    facts->client_name = text_of("");
    facts->helo = text_of(question->helo != NULL ? question->helo : "");
    facts->host = text_of(question->host != NULL ? question->host : "");
    facts->window = question->window != NULL;
    facts->login = text_of(question->login != NULL    ? question->login
                           : question->window != NULL ? question->window
                                                      : "");
    facts->sender = text_of(question->from);
    facts->recipient = text_of(question->to);
    facts->post = POST_MILTER;
    /* at another time other things will be counted */
    if (question->at == NULL && counted_read(ctl, opened->policy, facts, &answer->counted,
                                             &answer->counted_why) == STATUS_BUSY) {
        answer->counted_why.text[0] = '\0';
    }
    decide(opened->policy, facts, usage, &answer->milter);
    answer->door_facts = *facts;
    answer->door_facts.post = POST_DOOR;
    answer->door_facts.host = text_of(""); /* nobody tells it to the door */
    decide(opened->policy, &answer->door_facts, usage, &answer->door);
    answer->door_asked = !answer->milter.recipient_local;
    answer->passes = answer->milter.action == ACTION_PASS &&
                     (!answer->door_asked || answer->door.action == ACTION_PASS);
    /* What spoke last is what must change. */
    bool by_door = answer->milter.action == ACTION_PASS && !answer->passes;
    answer->edit_found = ctl_edit_find(opened, by_door ? &answer->door_facts : facts,
                                       &answer->counted, by_door ? &answer->door : &answer->milter,
                                       &answer->edit, &answer->edit_why) == STATUS_OK;
}

/* -- the answer ----------------------------------------------------------------------------- */

static const char *vote_name(enum vote vote)
{
    static const char *const names[] = {
        [VOTE_NOT_ASKED] = "not-asked", [VOTE_OFF] = "off",     [VOTE_NO_OPINION] = "no-objection",
        [VOTE_REFUSE] = "refuse",       [VOTE_DEFER] = "defer", [VOTE_EXEMPT] = "exempt",
        [VOTE_OBSERVED] = "observed"};
    return names[vote];
}

/* Asks what is counted, and nothing is known of that. */
static bool not_counted(const struct answer *answer, enum check check)
{
    return check == CHECK_GATEWAY ||
           (!answer->counted.known && (check == CHECK_BLOCK || check == CHECK_RATE));
}

static const char *whole_reply(const struct answer *answer, const struct verdict *verdict, char *to,
                               size_t room)
{
    struct reply reply;

    reply_make(verdict, 0, policy_text(answer->opened->policy, SETTING_HELP_URL), &reply);
    snprintf(to, room, "%s %s %s", reply.code, reply.enhanced, reply.text);
    return to;
}

static void print_check(const struct answer *answer, enum check check)
{
    const struct policy *policy = answer->opened->policy;
    const struct trail_step *step = &answer->milter.trail[check];
    char text[RULE_TEXT], other[RULE_TEXT];
    struct rule mode;

    policy_check_mode(policy, check, &mode);
    printf("  %2u %-11s  ", (unsigned)check + 1, check_name(check));
    switch (step->vote) {
    case VOTE_NOT_ASKED:
        printf("not asked\n");
        return;
    case VOTE_OFF:
        printf("off, by %s\n", policy_rule_text(policy, mode, text));
        return;
    case VOTE_NO_OPINION:
        printf("no objection");
        if (not_counted(answer, check)) {
            printf(" (judged as if nothing were counted)");
        }
        break;
    case VOTE_REFUSE:
        printf("refuses: %s", reason_row(step->reason)->name);
        break;
    case VOTE_DEFER:
        printf("defers: %s", reason_row(step->reason)->name);
        break;
    case VOTE_EXEMPT:
        printf("spared by %s; otherwise %s", policy_rule_text(policy, step->exemption, text),
               reason_row(step->reason)->name);
        break;
    case VOTE_OBSERVED:
        printf("only observed, by %s; otherwise %s", policy_rule_text(policy, mode, text),
               reason_row(step->reason)->name);
        break;
    }
    if (step->rule.table != TABLE_NONE) {
        printf(", read %s", policy_rule_text(policy, step->rule, other));
    }
    printf("\n");
}

static void print_counted(const struct answer *answer)
{
    const struct usage *usage = &answer->counted.usage;
    char subject[SUBJECT_TEXT], rule[RULE_TEXT], time[CTL_TIME], span[CTL_SPAN];

    for (size_t i = 0; i < usage->limits; i++) {
        const struct limit_use *use = &usage->limit[i];
        printf("limit   %s: %" PRIu64 " of %" PRIu64 " %s in %" PRIu32 " seconds",
               subject_text(&answer->counted.subjects, use->limit.subject, subject), use->count,
               use->limit.allowed, counts_name(use->limit.counts), use->limit.seconds);
        if (use->wait > 0) {
            printf(", the next in %s", ctl_span_text((use->wait + 999) / 1000, span));
        }
        printf(", %s\n", policy_rule_text(answer->opened->policy, use->limit.rule, rule));
    }
    if (answer->counted.known && answer->counted.written != 0) {
        printf("        as the daemon wrote it down at UTC %s\n",
               ctl_time_text(answer->counted.written, time));
    } else if (answer->counted_why.text[0] != '\0') {
        printf("limit   not known: %s\n", answer->counted_why.text);
    }
}

static void print_edit(const struct answer *answer)
{
    const struct ctl_edit *edit = &answer->edit;

    if (!answer->edit_found) {
        printf("edit    none: no new row changes this answer%s%s\n",
               answer->edit_why.text[0] != '\0' ? "; " : "", answer->edit_why.text);
        return;
    }
    printf("edit    %s\n        %s\n", edit->sql, edit->caution);
    if (edit->tried) {
        bool still = !answer->passes && edit->after.action != ACTION_PASS;
        printf("        then: %s, %s%s\n", action_name(edit->after.action),
               reason_row(edit->after.reason)->name,
               still ? "; so this is only the first of several obstacles" : "");
    } else {
        printf("        not tried in memory: it changes a row that is there\n");
    }
}

static void print_text(const struct ctl *ctl, const struct question *question,
                       const struct answer *answer)
{
    const struct policy *policy = answer->opened->policy;
    const struct verdict *verdict = &answer->milter;
    const struct reason_row *row = reason_row(verdict->reason);
    char helo[SHOWN_ROOM], login[SHOWN_ROOM], from[SHOWN_ROOM], to[SHOWN_ROOM], time[CTL_TIME];
    char rule[RULE_TEXT], reply[REPLY_TEXT + 16], client[IP_TEXT] = "unknown";

    if (question->facts.client_known) {
        ip_text(&question->facts.client, client);
    }
    printf("client %s", client);
    printf(", HELO %s", question->facts.helo.size > 0
                            ? ctl_plain(question->facts.helo.bytes, helo, sizeof helo)
                            : "not said");
    printf(", %s%s",
           question->facts.login.size == 0 ? "no login"
           : question->facts.window        ? "no login but the window of "
                                           : "login ",
           ctl_plain(question->facts.login.bytes, login, sizeof login));
    printf(", from %s to %s\n",
           question->from[0] != '\0' ? ctl_plain(question->from, from, sizeof from) : "<>",
           ctl_plain(question->to, to, sizeof to));
    printf("judged as %s to a recipient %s, by %s at %s UTC", kind_name(verdict->kind),
           verdict->recipient_local ? "here" : "elsewhere", ctl->policy,
           ctl_time_text(question->wall, time));
    printf(", on %s\n", question->facts.host.size > 0
                            ? ctl_plain(question->facts.host.bytes, helo, sizeof helo)
                            : "a host without a name (--host)");
    for (unsigned check = 0; check < CHECK_COUNT; check++) {
        print_check(answer, (enum check)check);
    }
    print_counted(answer);
    printf("answer  %s, %s, %s%s\n", action_name(verdict->action), row->name,
           verdict->rule.table != TABLE_NONE ? "by " : "",
           policy_rule_text(policy, verdict->rule, rule));
    if (verdict->action != ACTION_PASS) {
        printf("reply   %s\n", whole_reply(answer, verdict, reply, sizeof reply));
    }
    printf("door    %s, %s", action_name(answer->door.action),
           reason_row(answer->door.reason)->name);
    if (answer->door.action != ACTION_PASS) {
        printf(": %s", whole_reply(answer, &answer->door, reply, sizeof reply));
    }
    printf("%s\n", answer->door_asked ? "" : " (the MTA need not ask: the recipient is local)");
    if (!answer->passes) {
        const struct reason_row *why =
            verdict->action != ACTION_PASS ? row : reason_row(answer->door.reason);
        printf("cause   %s\nremedy  %s\n", why->cause, why->remedy);
    }
    print_edit(answer);
}

static json_t *json_reply(const struct answer *answer, const struct verdict *verdict)
{
    struct reply reply;

    if (verdict->action == ACTION_PASS) {
        return json_null();
    }
    reply_make(verdict, 0, policy_text(answer->opened->policy, SETTING_HELP_URL), &reply);
    return json_pack("{s:s, s:s, s:s}", "code", reply.code, "enhanced", reply.enhanced, "text",
                     reply.text);
}

static json_t *json_verdict(const struct answer *answer, const struct verdict *verdict)
{
    return json_pack("{s:s, s:s, s:o, s:o}", "action", action_name(verdict->action), "reason",
                     reason_row(verdict->reason)->name, "row",
                     ctl_json_rule(answer->opened->policy, verdict->rule), "reply",
                     json_reply(answer, verdict));
}

static json_t *json_checks(const struct answer *answer)
{
    static const char *const modes[] = {"enforce", "observe", "off"};
    const struct policy *policy = answer->opened->policy;
    json_t *list = json_array();

    for (unsigned check = 0; check < CHECK_COUNT; check++) {
        const struct trail_step *step = &answer->milter.trail[check];
        enum check_mode mode = policy_check_mode(policy, (enum check)check, NULL);
        json_array_append_new(
            list, json_pack("{s:s, s:s, s:s, s:s?, s:o, s:o, s:b}", "check",
                            check_name((enum check)check), "mode", modes[mode], "vote",
                            vote_name(step->vote), "reason",
                            step->reason != REASON_NONE ? reason_row(step->reason)->name : NULL,
                            "row", ctl_json_rule(policy, step->rule), "exemption",
                            ctl_json_rule(policy, step->exemption), "counted",
                            !not_counted(answer, (enum check)check)));
    }
    return list;
}

static json_t *json_limits(const struct answer *answer)
{
    const struct usage *usage = &answer->counted.usage;
    json_t *list = json_array();
    char subject[SUBJECT_TEXT];

    for (size_t i = 0; i < usage->limits; i++) {
        const struct limit_use *use = &usage->limit[i];
        json_array_append_new(
            list,
            json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:o}", "subject",
                      subject_text(&answer->counted.subjects, use->limit.subject, subject),
                      "counts", counts_name(use->limit.counts), "count", (json_int_t)use->count,
                      "allowed", (json_int_t)use->limit.allowed, "seconds",
                      (json_int_t)use->limit.seconds, "wait_ms", (json_int_t)use->wait, "row",
                      ctl_json_rule(answer->opened->policy, use->limit.rule)));
    }
    return list;
}

static json_t *json_edit(const struct answer *answer)
{
    const struct ctl_edit *edit = &answer->edit;

    if (!answer->edit_found) {
        return json_null();
    }
    bool whole = (edit->after.action == ACTION_PASS) != answer->passes;
    return json_pack("{s:o, s:s, s:b, s:s?, s:s?, s:b}", edit->command ? "command" : "sql",
                     ctl_json_text(edit->sql), "caution", edit->caution, "tried", edit->tried,
                     "then_action", edit->tried ? action_name(edit->after.action) : NULL,
                     "then_reason", edit->tried ? reason_row(edit->after.reason)->name : NULL,
                     "first_of_several", edit->tried && !whole);
}

static void print_json(const struct ctl *ctl, const struct question *question,
                       const struct answer *answer)
{
    const struct verdict *verdict = &answer->milter;
    const struct reason_row *row = reason_row(verdict->reason);
    char time[CTL_TIME], client[IP_TEXT] = "unknown";

    if (verdict->action == ACTION_PASS && !answer->passes) {
        row = reason_row(answer->door.reason);
    }
    if (question->facts.client_known) {
        ip_text(&question->facts.client, client);
    }
    json_t *asked =
        json_pack("{s:s, s:o, s:o, s:b, s:o, s:o, s:o, s:s?, s:s}", "client", client, "helo",
                  ctl_json_text(question->facts.helo.bytes), "login",
                  ctl_json_text(question->facts.login.bytes), "window", question->facts.window,
                  "from", ctl_json_text(question->from), "to", ctl_json_text(question->to), "host",
                  ctl_json_text(question->facts.host.bytes), "listener", question->listener, "at",
                  ctl_time_text(question->wall, time));
    json_t *whole = json_verdict(answer, verdict);
    json_t *observed = json_null();
    if (verdict->observed) {
        observed = json_pack("{s:s, s:o}", "reason", reason_row(verdict->observed_reason)->name,
                             "row", ctl_json_rule(answer->opened->policy, verdict->observed_rule));
    }
    json_t *counted_at = json_null();
    if (answer->counted.written != 0) {
        counted_at = json_string(ctl_time_text(answer->counted.written, time));
    }
    json_t *rest = json_pack(
        "{s:b, s:o, s:o, s:s?, s:o, s:o, s:s, s:b, s:o, s:o, s:b, s:o, s:s, s:s, s:o, s:s?}", "ok",
        answer->passes, "limits", json_limits(answer), "counted_at", counted_at, "counted_trouble",
        answer->counted_why.text[0] != '\0' ? answer->counted_why.text : NULL, "policy",
        ctl_json_text(ctl->policy), "question", asked, "kind", kind_name(verdict->kind),
        "recipient_local", verdict->recipient_local, "checks", json_checks(answer), "door",
        json_verdict(answer, &answer->door), "door_asked", answer->door_asked, "observed", observed,
        "cause", row->cause, "remedy", row->remedy, "edit", json_edit(answer), "edit_refused",
        answer->edit_found || answer->edit_why.text[0] == '\0' ? NULL : answer->edit_why.text);
    if (rest != NULL && whole != NULL) {
        json_object_update(rest, whole);
    }
    json_decref(whole);
    ctl_print(rest);
}

int verb_explain(const struct ctl *ctl, int argc, char **argv)
{
    struct question question = {.client = NULL};
    struct ctl_policy opened = {NULL, NULL};
    struct answer answer;
    struct why why = {""};

    if (argc == 1) {
        return ctl_fail(ctl, CTL_USAGE, USAGE);
    }
    if (argc == 2 && argv[1][0] != '-') {
        uint64_t number;
        return ctl_number_read(argv[1], &number) ? ctl_explain_number(ctl, number)
                                                 : explain_reason(ctl, argv[1]);
    }
    int code = read_question(ctl, argc, argv, &question);
    if (code != CTL_YES) {
        return code;
    }
    enum status status = ctl_policy_open(ctl->policy, question.wall, &opened, &why);
    if (status == STATUS_OK) {
        status = proof_run(opened.policy, NULL, NULL, NULL, &why);
    }
    if (status != STATUS_OK) {
        ctl_policy_close(&opened);
        return ctl_fail(ctl, ctl_exit_of(status), "%s%s", why.text,
                        status == STATUS_BAD ? "; this policy would not come into force "
                                               "(sekisho check)"
                                             : "");
    }
    judge(ctl, &question, &opened, &answer);
    if (ctl->json) {
        print_json(ctl, &question, &answer);
    } else {
        print_text(ctl, &question, &answer);
    }
    ctl_policy_close(&opened);
    return answer.passes ? CTL_YES : CTL_NO;
}
