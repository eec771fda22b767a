/* sekisho explain NUMBER: a recorded decision, and how the same would be judged today. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/decide.h"
#include "core/proof.h"
#include "core/reply.h"
#include "counted.h"
#include "store/statedb_log.h"

enum { TEXTS_ROOM = 8192, SHOWN_ROOM = 4 * DECISION_TEXT + 64 };

/* A decision with texts of its own, each ended by NUL. */
struct recorded {
    bool found;
    struct statedb_decision stored;
    char at[32], texts[TEXTS_ROOM];
};

/* How the policy as it is now judges the same facts. */
struct today {
    struct ctl_policy opened;
    bool judged;
    struct why why; /* why not */
    struct facts facts;
    struct verdict verdict;
    bool same, cut, edit_found;
    struct counted counted; /* as it was then */
    struct ctl_edit edit;
    struct why edit_why;
};

static bool keep(void *context, const struct statedb_decision *stored)
{
    struct recorded *recorded = context;
    struct decision *decision = &recorded->stored.decision;
    struct text *texts[DECISION_TEXTS];
    size_t used = 0;

    recorded->stored = *stored;
    decision_texts(decision, texts);
    for (size_t i = 0; i < DECISION_TEXTS; i++) {
        size_t room = sizeof recorded->texts - used - (DECISION_TEXTS - i);
        size_t size = texts[i]->bytes == NULL ? 0 : texts[i]->size;
        size = size < room ? size : room;
        if (size > 0) {
            memcpy(recorded->texts + used, texts[i]->bytes, size);
        }
        recorded->texts[used + size] = '\0';
        *texts[i] = (struct text){recorded->texts + used, size};
        used += size + 1;
    }
    snprintf(recorded->at, sizeof recorded->at, "%s", stored->at);
    recorded->stored.at = recorded->at;
    recorded->found = true;
    return false;
}

/* -- not found ------------------------------------------------------------------------------ */

static int not_found(const struct ctl *ctl, struct statedb *db, uint64_t number,
                     struct recorded *recorded)
{
    struct statedb_filter filter = {.most = 1};
    struct why why = {""};
    enum status status = statedb_decisions(db, &filter, keep, recorded, &why);
    uint64_t oldest = recorded->stored.decision.number;

    if (status == STATUS_OK && !recorded->found) {
        return ctl_fail(ctl, CTL_NO, "#%" PRIu64 ": no decision is recorded yet", number);
    }
    if (status == STATUS_OK && number < oldest) {
        return ctl_fail(ctl, CTL_NO,
                        "#%" PRIu64 " is older than what is kept: the oldest is #%" PRIu64
                        " of %s UTC (setting retention)",
                        number, oldest, recorded->at);
    }
    filter.newest_first = true;
    if (status == STATUS_OK) {
        status = statedb_decisions(db, &filter, keep, recorded, &why);
    }
    if (status != STATUS_OK) {
        return ctl_fail(ctl, CTL_UNREACHABLE, "%s", why.text);
    }
    uint64_t last = recorded->stored.decision.number;
    if (number > last) {
        return ctl_fail(ctl, CTL_NO,
                        "#%" PRIu64 " is above the last one, #%" PRIu64
                        " of %s UTC; a new one is here after a moment",
                        number, last, recorded->at);
    }
    return ctl_fail(ctl, CTL_NO,
                    "#%" PRIu64 " is not recorded, though #%" PRIu64 " to #%" PRIu64
                    " are kept: numbers are left out when the daemon starts again",
                    number, oldest, last);
}

/* -- today ---------------------------------------------------------------------------------- */

static bool is_cut(const struct kept_text *kept)
{
    return kept->whole > kept->text.size;
}

static void judge(const struct ctl *ctl, const struct decision *decision, struct today *today)
{
    struct facts *facts = &today->facts;
    enum status status = ctl_policy_open(ctl->policy, ctl->now.wall, &today->opened, &today->why);

    if (status == STATUS_OK) {
        status = proof_run(today->opened.policy, NULL, NULL, NULL, &today->why);
    }
    if (status != STATUS_OK) {
        return;
    }
    decision_facts(decision, facts);
    facts->window = decision->verdict.kind == KIND_WINDOW;
    counted_recorded(today->opened.policy, facts, decision, &today->counted);
    decide(today->opened.policy, facts, &today->counted.usage, &today->verdict);
    today->judged = true;
    today->same = today->verdict.action == decision->verdict.action &&
                  today->verdict.reason == decision->verdict.reason;
    today->cut = is_cut(&decision->client_name) || is_cut(&decision->helo) ||
                 is_cut(&decision->host) || is_cut(&decision->login) || is_cut(&decision->sender) ||
                 is_cut(&decision->recipient);
    today->edit_found = ctl_edit_find(&today->opened, facts, &today->counted, &today->verdict,
                                      &today->edit, &today->edit_why) == STATUS_OK;
}

/* Blocks and counts are of the moment. */
static const char *today_caution(const struct decision *decision, const struct today *today)
{
    if (today->cut) {
        return "a text was too long to be kept whole, so this may differ";
    }
    switch (decision->verdict.reason) {
    case REASON_CLIENT_BLOCKED:
    case REASON_IDENTITY_BLOCKED:
    case REASON_RELAY_SUSPENDED:
        return "as if the block were still there: sekisho block list";
    case REASON_GATEWAY_SUSPECTED:
    case REASON_RATE_CLIENT:
    case REASON_RATE_IDENTITY:
    case REASON_RATE_SENDER:
    case REASON_RATE_EVERYONE:
    case REASON_RATE_LOGIN_WINDOW:
        return "with the counts of then; those of now: sekisho usage";
    case REASON_NO_POLICY:
    case REASON_NO_RECORD:
    case REASON_TOO_MANY_RECIPIENTS:
    case REASON_INTERNAL_ERROR:
        return "the decision was not made by the rows of the policy";
    default:
        return "";
    }
}

/* -- the answer ----------------------------------------------------------------------------- */

static bool make_reply(const struct decision *decision, const struct today *today,
                       struct reply *reply)
{
    if (decision->verdict.action == ACTION_PASS) {
        return false;
    }
    reply_make(&decision->verdict, decision->number,
               today->judged ? policy_text(today->opened.policy, SETTING_HELP_URL) : "", reply);
    return true;
}

static void print_fact(const char *before, const struct kept_text *kept, const char *absent)
{
    char shown[SHOWN_ROOM];

    if (kept->text.size == 0) {
        printf("%s", absent);
        return;
    }
    printf("%s%s", before, ctl_plain(kept->text.bytes, shown, sizeof shown));
    if (is_cut(kept)) {
        printf("... (%" PRIu32 " octets)", kept->whole);
    }
}

static void print_limit(const struct decision *decision)
{
    const struct limit_seen *limit = &decision->verdict.limit;
    char subject[4 * DECISION_SUBJECT], span[CTL_SPAN];

    if (limit->rule.table == TABLE_NONE) {
        return;
    }
    printf("limit   %s: %" PRIu64 " of %" PRIu64 " %s in %" PRId64 " seconds before this one, "
           "rate_limit %" PRId64,
           ctl_plain(decision->subject[limit->subject].bytes, subject, sizeof subject),
           limit->count, limit->allowed, counts_name(limit->counts), limit->seconds,
           limit->rule.row);
    if (limit->wait > 0) {
        printf("; one more in %s", ctl_span_text((limit->wait + 999) / 1000, span));
    }
    printf("\n");
}

static void print_today(const struct decision *decision, const struct today *today)
{
    const struct ctl_edit *edit = &today->edit;
    char rule[RULE_TEXT];
    const char *caution = today_caution(decision, today);

    if (!today->judged) {
        printf("today   cannot be judged: %s\n", today->why.text);
        return;
    }
    printf("today   %s: %s, %s, %s%s\n", today->same ? "the same" : "otherwise",
           action_name(today->verdict.action), reason_row(today->verdict.reason)->name,
           today->verdict.rule.table != TABLE_NONE ? "by " : "",
           policy_rule_text(today->opened.policy, today->verdict.rule, rule));
    if (caution[0] != '\0') {
        printf("        %s\n", caution);
    }
    if (!today->edit_found) {
        printf("edit    none: no new row changes what it would be today%s%s\n",
               today->edit_why.text[0] != '\0' ? "; " : "", today->edit_why.text);
        return;
    }
    printf("edit    %s\n        %s\n", edit->sql, edit->caution);
    if (edit->tried) {
        printf("        then: %s, %s\n", action_name(edit->after.action),
               reason_row(edit->after.reason)->name);
    } else {
        printf("        not tried in memory: it changes a row that is there\n");
    }
}

static void print_text(const struct statedb_decision *stored, const struct today *today)
{
    const struct decision *decision = &stored->decision;
    const struct verdict *verdict = &decision->verdict;
    const struct reason_row *row = reason_row(verdict->reason);
    char shown[SHOWN_ROOM], client[IP_TEXT] = "unknown", listener[IP_TEXT];
    struct reply reply;

    if (decision->client_known) {
        ip_text(&decision->client, client);
    }
    printf("#%" PRIu64 " of %s UTC, by policy generation %" PRIu64 "\n", decision->number,
           stored->at, decision->generation);
    printf("client %s", client);
    print_fact(", named ", &decision->client_name, "");
    print_fact(", HELO ", &decision->helo, ", HELO not said");
    print_fact(verdict->kind == KIND_WINDOW ? ", no login but the window of " : ", login ",
               &decision->login, ", no login");
    print_fact(", from ", &decision->sender, ", from <>");
    print_fact(" to ", &decision->recipient, " to nobody");
    printf("\njudged as %s to a recipient %s, at the %s", kind_name(verdict->kind),
           verdict->recipient_local ? "here" : "elsewhere",
           decision->post == POST_DOOR ? "permit door" : "milter");
    print_fact(", on ", &decision->host, "");
    if (decision->listener_known) {
        ip_text(&decision->listener, listener);
        printf(", reached at %s", listener);
    }
    printf("%s%s%s\n", decision->submission ? "; from the mail server's own command line" : "",
           decision->not_for_mta ? "; the mail server had said that it is none of its own" : "",
           decision->mta_refused ? "; the mail server had refused this recipient by itself" : "");
    printf("answer  %s, %s, %s%s\n", action_name(verdict->action), row->name,
           decision->row_text.size > 0 ? "by " : "",
           decision->row_text.size > 0 ? ctl_plain(decision->row_text.bytes, shown, sizeof shown)
                                       : "built in");
    if (verdict->action != ACTION_PASS && check_name(verdict->check)[0] != '\0') {
        printf("check   %s\n", check_name(verdict->check));
    }
    if (make_reply(decision, today, &reply)) {
        printf("reply   %s %s %s\n", reply.code, reply.enhanced, reply.text);
    }
    printf("cause   %s\n", row->cause);
    if (verdict->action != ACTION_PASS) {
        printf("remedy  %s\n", row->remedy);
    }
    print_limit(decision);
    if (verdict->observed) {
        printf("observed only: %s, by %s\n", reason_row(verdict->observed_reason)->name,
               ctl_plain(decision->observed_row_text.bytes, shown, sizeof shown));
    }
    if (decision->blocks) {
        printf("blocked %s\n", ctl_plain(decision->block_subject.bytes, shown, sizeof shown));
    }
    printf("session %s\n", decision->session.size > 0
                               ? ctl_plain(decision->session.bytes, shown, sizeof shown)
                               : "not known");
    printf("queue   %s, message %s\n",
           decision->queue.size > 0 ? ctl_plain(decision->queue.bytes, shown, sizeof shown)
                                    : "no id",
           stored->ended ? outcome_name(decision->outcome) : "not known to have ended");
    print_today(decision, today);
}

static json_t *json_today(const struct decision *decision, const struct today *today)
{
    const struct ctl_edit *edit = &today->edit;
    json_t *change = json_null();

    if (!today->judged) {
        return json_pack("{s:b, s:s}", "judged", 0, "error", today->why.text);
    }
    if (today->edit_found) {
        change =
            json_pack("{s:o, s:s, s:b, s:s?, s:s?}", edit->command ? "command" : "sql",
                      ctl_json_text(edit->sql), "caution", edit->caution, "tried", edit->tried,
                      "then_action", edit->tried ? action_name(edit->after.action) : NULL,
                      "then_reason", edit->tried ? reason_row(edit->after.reason)->name : NULL);
    }
    return json_pack(
        "{s:b, s:b, s:s, s:s, s:o, s:s, s:o, s:s?}", "judged", 1, "same", today->same, "action",
        action_name(today->verdict.action), "reason", reason_row(today->verdict.reason)->name,
        "row", ctl_json_rule(today->opened.policy, today->verdict.rule), "caution",
        today_caution(decision, today), "edit", change, "edit_refused",
        today->edit_found || today->edit_why.text[0] == '\0' ? NULL : today->edit_why.text);
}

static void print_json(const struct statedb_decision *stored, const struct today *today)
{
    const struct decision *decision = &stored->decision;
    const struct reason_row *row = reason_row(decision->verdict.reason);
    json_t *said = json_null();
    struct reply reply;

    if (make_reply(decision, today, &reply)) {
        said = json_pack("{s:s, s:s, s:s}", "code", reply.code, "enhanced", reply.enhanced, "text",
                         reply.text);
    }
    ctl_print(json_pack("{s:b, s:o, s:o, s:s, s:s, s:o}", "ok", 1, "decision",
                        ctl_json_decision(stored), "reply", said, "cause", row->cause, "remedy",
                        row->remedy, "today", json_today(decision, today)));
}

int ctl_explain_number(const struct ctl *ctl, uint64_t number)
{
    static struct recorded recorded;
    static struct today today;
    struct statedb_filter filter = {.number = number, .most = 1};
    struct statedb *db = NULL;
    struct why why = {""};
    enum status status = statedb_open(ctl->state, STATEDB_READ, CTL_WAIT_MS, &db, NULL, &why);

    if (status == STATUS_OK) {
        status = statedb_decisions(db, &filter, keep, &recorded, &why);
    }
    if (status != STATUS_OK) {
        statedb_close(db);
        return ctl_fail(ctl, CTL_UNREACHABLE, "%s", why.text);
    }
    if (!recorded.found) {
        int code = not_found(ctl, db, number, &recorded);
        statedb_close(db);
        return code;
    }
    statedb_close(db);
    judge(ctl, &recorded.stored.decision, &today);
    if (ctl->json) {
        print_json(&recorded.stored, &today);
    } else {
        print_text(&recorded.stored, &today);
    }
    ctl_policy_close(&today.opened);
    return CTL_YES;
}
