/* What there is to report of a span: gathered once, beside a daemon that runs. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "report.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/policy_limit.h"
#include "core/stamp.h"
#include "counted.h"
#include "store/statedb_block.h"
#include "store/statedb_counter.h"

#define HOUR_MS INT64_C(3600000)
#define DAY_MS INT64_C(86400000)

enum {
    DAYS_FROM = 3,  /* of a span of so many days and more, days are shown instead of hours */
    BLAST_DAYS = 7, /* of blocks that began before, nobody looks what they had got out */
    NEAR_FIFTHS = 4 /* of five: near a limit */
};

static void copy_name(struct report_name *name, const char *bytes, size_t size)
{
    name->size = size < REPORT_NAME ? size : REPORT_NAME;
    memcpy(name->bytes, bytes, name->size);
    name->bytes[name->size] = '\0';
}

const char *report_shown(const struct report_name *name, char to[REPORT_SHOWN])
{
    printable_copy(to, REPORT_SHOWN, name->bytes, name->size, 60);
    return to;
}

/* -- the daemon ----------------------------------------------------------------------------- */

static int64_t json_ms(json_t *root, const char *name)
{
    return json_integer_value(json_object_get(root, name)) * 1000;
}

static void json_sentence(json_t *root, const char *name, char to[512])
{
    const char *text = json_string_value(json_object_get(root, name));

    ctl_plain(text != NULL ? text : "", to, 512);
}

void report_gather_standing(const struct ctl *ctl, struct report *report)
{
    char path[CTL_PATH];
    json_error_t error;
    struct why why;

    report->daemon = ctl_daemon_look(ctl, &why);
    json_t *root = ctl_beside_state(ctl, "status.json", path)
                       ? json_load_file(path, JSON_REJECT_DUPLICATES, &error)
                       : NULL;
    if (root == NULL) {
        return;
    }
    const char *origin = json_string_value(json_object_get(root, "origin"));
    report->told = true;
    report->generation = json_integer_value(json_object_get(root, "generation"));
    report->in_force_since = json_ms(root, "in_force_since");
    report->refused_at = json_ms(root, "refused_at");
    report->refused = json_is_true(json_object_get(root, "refused"));
    report->last_good = origin != NULL && strcmp(origin, "last-good") == 0;
    json_sentence(root, "refusal", report->refusal);
    json_sentence(root, "state_trouble", report->state_trouble);
    json_decref(root);
}

/* -- sums ----------------------------------------------------------------------------------- */

static void add_to_sum(struct report_sum *sum, const struct figures_group *group)
{
    sum->reason[group->reason] += group->count;
    sum->action[group->action] += group->count;
    sum->out += group->action == ACTION_PASS && !group->local ? group->count : 0;
    sum->observed += group->observed;
}

static void add_to_moment(struct report *report, const struct figures_group *group)
{
    char text[32];
    int64_t wall, first;

    snprintf(text, sizeof text, "%.13s%s", group->moment, report->days ? " 00:00:00" : ":00:00");
    if (!stamp_read(text, strlen(text), &wall)) {
        return;
    }
    snprintf(text, sizeof text, "%s%s", report->moments[0].label,
             report->days ? " 00:00:00" : ":00:00");
    if (!stamp_read(text, strlen(text), &first) || wall < first) {
        return;
    }
    int64_t at = (wall - first) / (report->days ? DAY_MS : HOUR_MS);
    if (at < (int64_t)report->moment_count) {
        report->moments[at].action[group->action] += group->count;
    }
}

static bool add_to_rows(struct report *report, const struct figures_group *group)
{
    struct report_row *last = report->row_count > 0 ? &report->rows[report->row_count - 1] : NULL;

    if (group->rule.table == TABLE_NONE) {
        return true;
    }
    if (last != NULL && last->rule.table == group->rule.table &&
        last->rule.row == group->rule.row) {
        last->count += group->count;
        return true;
    }
    if (report->row_count == report->row_room) {
        size_t room = report->row_room > 0 ? 2 * report->row_room : 256;
        struct report_row *rows = realloc(report->rows, room * sizeof *rows);
        if (rows == NULL) {
            report->no_memory = true;
            return false;
        }
        report->rows = rows;
        report->row_room = room;
    }
    report->rows[report->row_count++] = (struct report_row){group->rule, group->count};
    return true;
}

static bool take_group(void *context, const struct figures_group *group)
{
    struct report *report = context;

    add_to_sum(&report->now_sum, group);
    add_to_moment(report, group);
    return add_to_rows(report, group);
}

static bool take_group_before(void *context, const struct figures_group *group)
{
    add_to_sum(&((struct report *)context)->before_sum, group);
    return true;
}

struct top_reading {
    struct report *report;
    enum figures_whose whose;
};

static bool take_top(void *context, const struct figures_top *top)
{
    struct top_reading *reading = context;
    size_t *count = &reading->report->tops[reading->whose];
    struct report_top *to = &reading->report->top[reading->whose][*count];

    copy_name(&to->name, top->name.bytes, top->name.size);
    copy_name(&to->client, top->client.bytes, top->client.size);
    to->count = top->count;
    to->out = top->out;
    to->refused = top->refused;
    to->number = top->number;
    to->reason = top->reason;
    return ++*count < REPORT_TOPS;
}

static bool take_note(void *context, const struct figures_note *note)
{
    struct report *report = context;

    report->began += strcmp(note->kind, "block") == 0 && note->at < report->until;
    return true;
}

/* The hours or days of the span, empty. */
static bool make_moments(struct report *report)
{
    const int64_t step = report->days ? DAY_MS : HOUR_MS;
    int64_t first = report->since / step * step;
    size_t count = (size_t)((report->until - first + step - 1) / step);

    report->moment_count = count < REPORT_BARS ? count : REPORT_BARS;
    report->moments =
        calloc(report->moment_count > 0 ? report->moment_count : 1, sizeof *report->moments);
    for (size_t i = 0; report->moments != NULL && i < report->moment_count; i++) {
        char text[STAMP_TEXT];
        stamp_write(first + (int64_t)i * step, false, text);
        snprintf(report->moments[i].label, sizeof report->moments[i].label, "%.*s",
                 report->days ? 10 : 13, text);
    }
    return report->moments != NULL;
}

static enum status gather_sums(struct figures *figures, struct report *report, struct why *why)
{
    const int64_t span = report->until - report->since;
    enum status status = figures_groups(figures, report->since, report->until, report->days,
                                        take_group, report, why);

    if (status == STATUS_OK) {
        status = figures_groups(figures, report->since - span, report->since, true,
                                take_group_before, report, why);
    }
    for (int i = 0; status == STATUS_OK && i < FIGURES_WHOSE_COUNT; i++) {
        struct top_reading reading = {report, (enum figures_whose)i};
        status = figures_top(figures, reading.whose, report->since, report->until, REPORT_TOPS,
                             take_top, &reading, why);
    }
    if (status == STATUS_OK) {
        status = figures_notes(figures, 0, report->since, take_note, report, why);
    }
    return status;
}

/* -- blocks, and what they had got out -------------------------------------------------------- */

static unsigned rank(const struct report_block *block)
{
    return strncmp(block->block.subject, "identity:", 9) == 0 ? 0 : block->relay ? 1 : 2;
}

/* Logins, then relay, then clients; of these what got most out, then the newest. */
static int compare_blocks(const void *first, const void *second)
{
    const struct report_block *a = first, *b = second;

    if (rank(a) != rank(b)) {
        return rank(a) < rank(b) ? -1 : 1;
    }
    if (a->out != b->out) {
        return a->out > b->out ? -1 : 1;
    }
    return a->block.since > b->block.since ? -1 : a->block.since < b->block.since;
}

static bool take_block(void *context, const struct block *row)
{
    struct report *report = context;
    struct report_block block = {.block = *row, .forever = row->until == INT64_MAX};
    struct subjects subjects;
    char text[SUBJECT_TEXT];

    if (!block.forever && row->until <= report->now) {
        return true;
    }
    report->blocks_in_force++;
    if (subject_parse(report->policy.policy, row->subject, &subjects, &block.relay, text, NULL) ==
        STATUS_OK) {
        snprintf(block.block.subject, sizeof block.block.subject, "%s", text);
    }
    if (report->block_count < REPORT_BLOCKS) {
        report->blocks[report->block_count++] = block;
        return true;
    }
    /* the last in the order gives way */
    struct report_block *last = &report->blocks[0];
    for (size_t i = 1; i < report->block_count; i++) {
        last = compare_blocks(last, &report->blocks[i]) < 0 ? &report->blocks[i] : last;
    }
    if (compare_blocks(&block, last) < 0) {
        *last = block;
    }
    return true;
}

struct blast {
    struct report *report;
    bool identities, clients;
    /* subjects of the last login and client, which often is the next one's as well */
    struct report_name login;
    struct ip client;
    bool client_known;
    char identity_text[SUBJECT_TEXT], client_text[SUBJECT_TEXT];
};

static void login_subject(struct blast *blast, const struct text *login)
{
    const struct policy *policy = blast->report->policy.policy;
    struct subjects subjects;
    char text[16 + 4 * REPORT_NAME + 32] = "identity:";
    bool relay;

    if (blast->login.size == login->size &&
        memcmp(blast->login.bytes, login->bytes, login->size) == 0 && login->size > 0) {
        return;
    }
    copy_name(&blast->login, login->bytes, login->size);
    printable_copy(text + 9, sizeof text - 9, login->bytes, login->size, REPORT_NAME);
    if (subject_parse(policy, text, &subjects, &relay, blast->identity_text, NULL) != STATUS_OK) {
        blast->identity_text[0] = '\0';
    }
}

static void client_subject(struct blast *blast, const struct ip *client)
{
    const struct policy *policy = blast->report->policy.policy;
    struct subjects subjects = {.kind = KIND_STRANGER};
    char text[IP_TEXT];

    if (blast->client_known && memcmp(&blast->client, client, sizeof *client) == 0) {
        return;
    }
    blast->client = *client;
    blast->client_known = true;
    if (policy != NULL) {
        policy_client_network(policy, client, &subjects);
        subjects.counted[SUBJECT_CLIENT] = true;
        subject_text(&subjects, SUBJECT_CLIENT, blast->client_text);
    } else {
        ip_text(client, text);
        snprintf(blast->client_text, sizeof blast->client_text, "client:%s", text);
    }
}

static bool queue_is_there(const struct report_block *block, const char *queue)
{
    for (size_t i = block->queues; i > 0; i--) {
        if (strcmp(block->queue[i - 1], queue) == 0) {
            return true;
        }
    }
    return false;
}

static void count_pass(struct report_block *block, const struct figures_pass *pass)
{
    char queue[REPORT_QUEUE_ID];

    copy_name(&block->login, pass->login.bytes, pass->login.size);
    if (pass->local) {
        block->in++;
        return;
    }
    block->out++;
    copy_name(&block->recipient[block->recipients++ % REPORT_RECIPIENTS], pass->recipient.bytes,
              pass->recipient.size);
    if (pass->queue.size == 0 || pass->queue.size >= sizeof queue ||
        memchr(pass->queue.bytes, '\0', pass->queue.size) != NULL) {
        return;
    }
    memcpy(queue, pass->queue.bytes, pass->queue.size);
    queue[pass->queue.size] = '\0';
    if (queue_is_there(block, queue)) {
        return;
    }
    if (block->queues < REPORT_QUEUES) {
        memcpy(block->queue[block->queues++], queue, sizeof queue);
    } else {
        block->more_queues = true;
    }
}

static bool take_pass(void *context, const struct figures_pass *pass)
{
    struct blast *blast = context;
    const struct report *report = blast->report;
    const bool by_login = pass->kind == KIND_LOGIN;

    if (by_login && blast->identities) {
        login_subject(blast, &pass->login);
    } else if (!by_login && blast->clients && pass->client_known) {
        client_subject(blast, &pass->client);
    } else {
        return true;
    }
    for (size_t i = 0; i < report->block_count; i++) {
        struct report_block *block = &report->blocks[i];
        const char *subject = block->block.subject;
        if (block->looked_since == 0 || pass->at < block->looked_since) {
            continue;
        }
        /* relay:IP is the same network as client:IP */
        if (by_login ? strcmp(subject, blast->identity_text) == 0
                     : rank(block) != 0 &&
                           strcmp(strchr(subject, ':'), strchr(blast->client_text, ':')) == 0) {
            count_pass(block, pass);
        }
    }
    return true;
}

/* What they got through from a day before the block began. */
static enum status gather_blast(struct figures *figures, struct report *report, struct why *why)
{
    struct blast *blast = calloc(1, sizeof *blast);
    int64_t first = INT64_MAX;

    if (blast == NULL) {
        return why_set(why, STATUS_BROKEN, "no memory for what blocked ones had got out");
    }
    blast->report = report;
    for (size_t i = 0; i < report->block_count; i++) {
        struct report_block *block = &report->blocks[i];
        if (block->block.since < report->now - BLAST_DAYS * DAY_MS ||
            strchr(block->block.subject, ':') == NULL) {
            continue;
        }
        block->looked_since = block->block.since - DAY_MS;
        first = block->looked_since < first ? block->looked_since : first;
        blast->identities |= rank(block) == 0;
        blast->clients |= rank(block) != 0;
    }
    enum status status = STATUS_OK;
    if (first != INT64_MAX) {
        status = figures_passes(figures, first, report->until, take_pass, blast, why);
    }
    free(blast);
    return status;
}

/* -- rows that never spoke -------------------------------------------------------------------- */

bool report_table_speaks(enum table table)
{
    switch (table) {
    case TABLE_LOCAL_DOMAIN:
    case TABLE_CLIENT_HOST:
    case TABLE_IP_RANGE:
    case TABLE_IDENTITY:
    case TABLE_RECEIVE_ONLY:
    case TABLE_SPAM_TRAP:
    case TABLE_RATE_LIMIT:
    case TABLE_OWN_NAME:
        return true;
    default: /* what these say is told by the rows above, or they are no rules */
        return false;
    }
}

static int compare_rules(const void *first, const void *second)
{
    const struct report_row *a = first, *b = second;

    if (a->rule.table != b->rule.table) {
        return a->rule.table < b->rule.table ? -1 : 1;
    }
    return a->rule.row < b->rule.row ? -1 : a->rule.row > b->rule.row;
}

struct ids {
    struct report *report;
    enum table table;
};

static bool take_id(void *context, int64_t row)
{
    struct ids *ids = context;
    struct report *report = ids->report;
    struct report_table *table = &report->table[ids->table];
    const struct report_row wanted = {{ids->table, row}, 0};

    table->rows++;
    if (report->row_count > 0 &&
        bsearch(&wanted, report->rows, report->row_count, sizeof wanted, compare_rules) != NULL) {
        table->spoke++;
    } else if (table->nevers < REPORT_NEVER) {
        table->never[table->nevers++] = row;
    }
    return true;
}

static enum status gather_rows(struct report *report, struct why *why)
{
    enum status status = STATUS_OK;

    if (report->row_count > 0) {
        qsort(report->rows, report->row_count, sizeof *report->rows, compare_rules);
    }
    for (int i = TABLE_NONE + 1; status == STATUS_OK && i < TABLE_COUNT; i++) {
        struct ids ids = {report, (enum table)i};
        if (report_table_speaks(ids.table)) {
            status = policydb_ids(report->policy.db, ids.table, take_id, &ids, why);
        }
    }
    return status;
}

/* -- all ------------------------------------------------------------------------------------ */

static enum status gather_state(const struct ctl *ctl, struct report *report, struct why *why)
{
    struct statedb *db = NULL;
    struct figures *figures = NULL;
    int64_t written;
    enum status status = statedb_open(ctl->state, STATEDB_READ, CTL_WAIT_MS, &db, NULL, why);

    if (status == STATUS_OK) {
        status = statedb_blocks(db, take_block, report, why);
    }
    if (status == STATUS_OK && report->policy.policy != NULL) {
        report->near.policy = report->policy.policy;
        report->near.most = REPORT_TOPS;
        status = counted_clock(db, ctl->now.wall, &report->near.now, &written, why);
        if (status == STATUS_OK) {
            status = statedb_counters(db, nearest_take, &report->near, why);
        }
        while (report->near.count > 0) {
            const struct nearest_entry *last = &report->near.entries[report->near.count - 1];
            if (last->count * 5 >= last->allowed * NEAR_FIFTHS) {
                break;
            }
            report->near.count--;
        }
    }
    statedb_close(db);
    if (status == STATUS_OK) {
        status = figures_open(ctl->state, CTL_WAIT_MS, &figures, why);
    }
    if (status == STATUS_OK) {
        status = gather_sums(figures, report, why);
    }
    if (status == STATUS_OK) {
        status = gather_blast(figures, report, why);
    }
    figures_close(figures);
    if (report->block_count > 0) {
        qsort(report->blocks, report->block_count, sizeof *report->blocks, compare_blocks);
    }
    return status;
}

/* One that would not load has not been in force either: then the one that the daemon has kept says
 * who is who, and who is to be told. */
static void open_policy(const struct ctl *ctl, struct report *report)
{
    char path[CTL_PATH];
    struct why why = {""};

    if (ctl_policy_open(ctl->policy, ctl->now.wall, &report->policy, &why) == STATUS_OK) {
        return;
    }
    snprintf(report->policy_why, sizeof report->policy_why, "%s", why.text);
    if (ctl_beside_state(ctl, "last-good.db", path)) {
        ctl_policy_open(path, ctl->now.wall, &report->policy, &why);
    }
}

static void find_host(struct report *report)
{
    struct rule rule;
    const char *name =
        report->policy.policy != NULL ? policy_own_name(report->policy.policy, 0, &rule) : NULL;

    if (name != NULL) {
        ctl_plain(name, report->host, sizeof report->host);
    } else if (gethostname(report->host, sizeof report->host - 1) != 0) {
        snprintf(report->host, sizeof report->host, "localhost");
    }
}

enum status report_gather(const struct ctl *ctl, int64_t since, struct report *report,
                          struct why *why)
{
    struct why trouble = {""};

    report->now = report->until = ctl->now.wall;
    report->since = since;
    report->days = report->until - since >= DAYS_FROM * DAY_MS;
    report->blocks = calloc(REPORT_BLOCKS, sizeof *report->blocks);
    if (report->blocks == NULL || !make_moments(report)) {
        return why_set(why, STATUS_BROKEN, "no memory for a report");
    }
    report_gather_standing(ctl, report);
    open_policy(ctl, report);
    find_host(report);
    enum status state = gather_state(ctl, report, &trouble);
    if (state == STATUS_OK && report->policy.policy != NULL) {
        state = gather_rows(report, &trouble);
    }
    snprintf(report->state_why, sizeof report->state_why, "%s",
             state == STATUS_OK ? "" : trouble.text);
    return report->no_memory ? why_set(why, STATUS_BROKEN, "no memory for a report") : STATUS_OK;
}

void report_free(struct report *report)
{
    if (report != NULL) {
        ctl_policy_close(&report->policy);
        free(report->moments);
        free(report->rows);
        free(report->blocks);
        free(report);
    }
}

int report_exit(const struct report *report)
{
    return report->state_why[0] != '\0' ? CTL_UNREACHABLE : CTL_YES;
}
