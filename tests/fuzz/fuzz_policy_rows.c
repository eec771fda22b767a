/* Rows of every table, whatever stands in them: taken, sealed, judged by and proved as they say. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include <inttypes.h>
#include <time.h>

#include "core/decide.h"
#include "core/policy_seal.h"
#include "core/proof.h"
#include "fuzz.h"

/* The input is lines. The first sign says what a line is:
 *   @N         the wall time in milliseconds
 *   !FIELDS    a session, parted by tabs: client, HELO, login, sender, recipient, flags (d permit
 *              door, s submission, h the MTA says its name, m the MTA has said that the recipient
 *              is none of its own)
 *   P          the open-relay battery is run at the end
 *   A to M     a row of the table of that number: cells parted by tabs, each a sign and a value:
 *              i integer, t text, n NULL, o other; a first cell #N is the row's id */
enum { CELLS_MOST = 9, ROWS_MOST = 32, SESSIONS_MOST = 8, FIELDS = 6, INPUT_MOST = 8192 };

struct line_cells {
    struct cell cells[CELLS_MOST];
    enum table table;
    int64_t id;
    bool taken;
    struct range range;               /* of a row that was taken, where its table has these: */
    int64_t expires;                  /* seconds, INT64_MAX = never */
    char domain[ADDRESS_DOMAIN_ROOM]; /* local_domain, own_name */
};

struct session {
    struct text field[FIELDS];
};

struct story {
    char *text; /* the input, its tabs and line ends overwritten with NUL */
    struct line_cells rows[ROWS_MOST];
    struct session sessions[SESSIONS_MOST];
    size_t row_count, session_count;
    int64_t now, seconds; /* milliseconds, and whole seconds */
    bool proof;           /* the battery is run, too: it is slow */
};

/* -- reading the input ---------------------------------------------------------------------- */

static void read_row(struct story *story, char *at, char *end)
{
    struct line_cells *row = &story->rows[story->row_count];
    size_t count = 0;

    memset(row, 0, sizeof *row);
    row->table = (enum table)(*at - 'A' + 1);
    row->id = (int64_t)story->row_count + 1;
    for (size_t i = 0; i < CELLS_MOST; i++) {
        row->cells[i] = (struct cell){CELL_NULL, 0, "", 0};
    }
    for (at++; at < end && count < CELLS_MOST;) {
        char *tab = memchr(at, '\t', (size_t)(end - at));
        char *stop = tab != NULL ? tab : end;
        struct cell *cell = &row->cells[count];
        *stop = '\0';
        if (*at == '#' && count == 0) {
            row->id = strtoll(at + 1, NULL, 10);
        } else {
            count++;
            if (*at == 'i') {
                cell->type = CELL_INTEGER;
                cell->integer = strtoll(at + 1, NULL, 10);
            } else if (*at == 't') {
                cell->type = CELL_TEXT;
                cell->text = at + 1;
                cell->size = (size_t)(stop - at - 1);
            } else if (*at == 'o') {
                cell->type = CELL_OTHER;
            }
        }
        at = stop + 1;
    }
    story->row_count++;
}

static void read_session(struct story *story, char *at, char *end)
{
    struct session *session = &story->sessions[story->session_count++];

    for (size_t i = 0; i < FIELDS; i++) {
        session->field[i] = (struct text){"", 0};
    }
    at++;
    for (size_t i = 0; i < FIELDS && at < end; i++) {
        char *tab = memchr(at, '\t', (size_t)(end - at));
        char *stop = tab != NULL ? tab : end;
        *stop = '\0';
        session->field[i] = (struct text){at, (size_t)(stop - at)};
        at = stop + 1;
    }
}

static void read_story(struct story *story, const uint8_t *data, size_t size)
{
    story->text = exact_copy(data, size, true);
    story->row_count = story->session_count = 0;
    story->now = INT64_C(1795000000000);
    story->proof = false;
    for (char *at = story->text, *end; at < story->text + size; at = end + 1) {
        end = memchr(at, '\n', (size_t)(story->text + size - at));
        end = end != NULL ? end : story->text + size;
        *end = '\0';
        if (*at == '@') {
            long long now = strtoll(at + 1, NULL, 10);
            if (now >= 0 && now <= INT64_C(400000000000000)) { /* clocks show 1970 or later */
                story->now = now;
            }
        } else if (*at == 'P') {
            story->proof = true;
        } else if (*at == '!' && story->session_count < SESSIONS_MOST) {
            read_session(story, at, end);
        } else if (*at >= 'A' && *at <= 'M' && story->row_count < ROWS_MOST) {
            read_row(story, at, end);
        }
    }
    story->seconds = story->now / 1000 - (story->now % 1000 < 0);
}

/* -- what a good row looks like, said once more --------------------------------------------- */

/* A column: D domain, B 0 or 1, W one of words, R range, E expires, T text or NULL, L login,
 * A address, S sender pattern, s the same or NULL, N whole number up to most, n the same or NULL,
 * X any. */
struct column {
    char kind;
    const char *words; /* with a space at each end */
    int64_t least, most;
};

static const struct column columns[TABLE_COUNT][CELLS_MOST] = {
    [TABLE_LOCAL_DOMAIN] = {{.kind = 'D'}, {.kind = 'B'}, {.kind = 'W', .words = " ours anyone "}},
    [TABLE_OWN_NAME] = {{.kind = 'D'}},
    [TABLE_CLIENT_HOST] = {{.kind = 'R'}, {.kind = 'E'}},
    [TABLE_IP_RANGE] = {{.kind = 'R'},
                        {.kind = 'W', .words = " accept tempfail reject "},
                        {.kind = 'W', .words = " strangers everyone "},
                        {.kind = 'T'},
                        {.kind = 'E'}},
    [TABLE_EXEMPTION] = {{.kind = 'R'},
                         {.kind = 'W', .words = " block listed sender helo trap rate "},
                         {.kind = 's'},
                         {.kind = 'E'}},
    [TABLE_IDENTITY] = {{.kind = 'L'},
                        {.kind = 'B'},
                        {.kind = 'W', .words = " any own listed "},
                        {.kind = 'E'}},
    [TABLE_IDENTITY_SENDER] = {{.kind = 'L'}, {.kind = 'S'}, {.kind = 'E'}},
    [TABLE_IDENTITY_HOST] = {{.kind = 'L'}, {.kind = 'R'}, {.kind = 'E'}},
    [TABLE_RECEIVE_ONLY] = {{.kind = 'A'}},
    [TABLE_SPAM_TRAP] = {{.kind = 'A'}, {.kind = 'N', .least = 1, .most = 31536000}},
    [TABLE_RATE_LIMIT] = {{.kind = 'L'},
                          {.kind = 'W', .words = " client identity sender everyone login-window "},
                          {.kind = 'L'},
                          {.kind = 'W', .words = " messages recipients refusals "},
                          {.kind = 'W', .words = " in out any "},
                          {.kind = 'n', .least = 0, .most = 1000000000},
                          {.kind = 'N', .least = 1, .most = 31536000},
                          {.kind = 'W', .words = " tempfail reject block "},
                          {.kind = 'N', .least = 1, .most = 31536000}},
    [TABLE_CHECK_MODE] = {{.kind = 'W',
                           .words = " address block listed identity sender null-sender helo relay "
                                    "trap gateway rate "},
                          {.kind = 'W', .words = " enforce observe off "}},
    [TABLE_SETTING] = {{.kind = 'W',
                        .words = " mode help_url login_realm login_domain recipient_delimiter "
                                 "client_prefix_ipv4 client_prefix_ipv6 client_host_most "
                                 "client_host_most_ipv6 retention login_window_seconds "
                                 "report_address recipients_most ring_size keys_most "
                                 "block_longest gateway_names "},
                       {.kind = 'X'}},
};

static bool has_word(const char *words, const struct cell *cell)
{
    char word[80];
    int size = snprintf(word, sizeof word, " %s ", cell->text);

    return cell->type == CELL_TEXT && size > 2 && size < (int)sizeof word &&
           strchr(cell->text, ' ') == NULL && strstr(words, word) != NULL;
}

/* The second that an expires names; INT64_MAX for NULL. False: none. The C library counts. */
static bool read_expires(const struct cell *cell, int64_t *second)
{
    struct tm time, again;
    char written[64];

    *second = INT64_MAX;
    if (cell->type == CELL_NULL) {
        return true;
    }
    memset(&time, 0, sizeof time);
    if (cell->type != CELL_TEXT || strlen(cell->text) != cell->size ||
        (cell->size != 19 && cell->size != 20) ||
        sscanf(cell->text, "%4d-%2d-%2d%*1c%2d:%2d:%2d", &time.tm_year, &time.tm_mon, &time.tm_mday,
               &time.tm_hour, &time.tm_min, &time.tm_sec) != 6) {
        return false;
    }
    time.tm_year -= 1900;
    time.tm_mon--;
    time_t there = timegm(&time);
    if (gmtime_r(&there, &again) == NULL) {
        return false;
    }
    snprintf(written, sizeof written,
             cell->size == 19 ? "%04d-%02d-%02d %02d:%02d:%02d" : "%04d-%02d-%02dT%02d:%02d:%02dZ",
             again.tm_year + 1900, again.tm_mon + 1, again.tm_mday, again.tm_hour, again.tm_min,
             again.tm_sec);
    *second = (int64_t)there;
    return strcmp(written, cell->text) == 0;
}

static bool good_text(const struct cell *cell)
{
    if (cell->type != CELL_TEXT || strlen(cell->text) != cell->size) {
        return false;
    }
    for (size_t i = 0; i < cell->size; i++) {
        if ((unsigned char)cell->text[i] < 0x20 || cell->text[i] == 0x7f) {
            return false;
        }
    }
    return true;
}

static bool good_address(const struct cell *cell, bool bare)
{
    struct address address;

    address_parse(cell->text, cell->size, &address);
    return good_text(cell) && address.kind == ADDRESS_MAILBOX && !address.routed &&
           (bare || address.domain[0] != '\0');
}

static bool good_cell(const struct column *column, const struct cell *cell)
{
    char domain[ADDRESS_DOMAIN_ROOM];
    struct range range;
    int64_t second;
    bool null = cell->type == CELL_NULL;

    switch (column->kind) {
    case 'D':
        return good_text(cell) && domain_fold(cell->text, cell->size, domain);
    case 'B':
        return cell->type == CELL_INTEGER && (cell->integer == 0 || cell->integer == 1);
    case 'W':
        return has_word(column->words, cell);
    case 'R':
        return good_text(cell) && range_parse(cell->text, cell->size, &range, NULL) == STATUS_OK;
    case 'E':
        return read_expires(cell, &second);
    case 'T':
        return null || good_text(cell);
    case 'L':
        return good_text(cell) && cell->size > 0;
    case 'A':
        return good_address(cell, true);
    case 's':
    case 'S':
        return (null && column->kind == 's') ||
               (good_text(cell) && cell->text[0] == '@' &&
                domain_fold(cell->text + 1, cell->size - 1, domain)) ||
               good_address(cell, false);
    case 'n':
    case 'N':
        return (null && column->kind == 'n') ||
               (cell->type == CELL_INTEGER && cell->integer >= column->least &&
                cell->integer <= column->most);
    default:
        return true;
    }
}

/* A row that was taken is good; keeps what it says. */
static void check_taken(struct line_cells *row)
{
    const char *const *names = policy_columns(row->table);

    row->expires = INT64_MAX;
    for (size_t i = 0; i < CELLS_MOST && names[i] != NULL; i++) {
        const struct column *column = &columns[row->table][i];
        const struct cell *cell = &row->cells[i];
        MUST(good_cell(column, cell));
        if (column->kind == 'R') {
            MUST(range_parse(cell->text, cell->size, &row->range, NULL) == STATUS_OK);
        } else if (column->kind == 'E') {
            MUST(read_expires(cell, &row->expires));
        } else if (column->kind == 'D') {
            MUST(domain_fold(cell->text, cell->size, row->domain));
        }
    }
    if (row->table == TABLE_CLIENT_HOST) { /* RFC 6052: all of IPv4 behind one block of IPv6 */
        struct ip mapped;
        MUST(ip_parse("64:ff9b::808:808", &mapped) && !range_holds(&row->range, &mapped));
    }
}

/* -- what the rows say, asked row by row ---------------------------------------------------- */

static bool row_in_force(const struct story *story, const struct line_cells *row)
{
    return story->seconds < row->expires;
}

static bool is_client_host(const struct story *story, const struct ip *ip)
{
    for (size_t i = 0; i < story->row_count; i++) {
        const struct line_cells *row = &story->rows[i];
        if (row->taken && row->table == TABLE_CLIENT_HOST && row_in_force(story, row) &&
            range_holds(&row->range, ip)) {
            return true;
        }
    }
    return false;
}

/* The narrowest row that holds the address, of equal ones the strictest; rows of a list speak only
 * where no own row does. */
static enum listing listed(const struct story *story, const struct ip *ip, bool login)
{
    for (int imported = 0; imported < 2; imported++) {
        enum listing best = LISTING_NONE;
        struct ip best_width;
        memset(&best_width, 0xff, sizeof best_width);
        for (size_t i = 0; i < story->row_count; i++) {
            const struct line_cells *row = &story->rows[i];
            enum listing says = LISTING_ACCEPT;
            if (!row->taken || (row->table != TABLE_CLIENT_HOST && row->table != TABLE_IP_RANGE)) {
                continue;
            }
            if (row->table == TABLE_IP_RANGE) {
                const char *verdict = row->cells[1].text;
                says = verdict[0] == 'a'   ? LISTING_ACCEPT
                       : verdict[0] == 't' ? LISTING_TEMPFAIL
                                           : LISTING_REJECT;
                if ((row->cells[3].type != CELL_NULL) != (imported == 1) ||
                    (login && row->cells[2].text[0] == 's')) {
                    continue;
                }
            } else if (imported == 1) {
                continue;
            }
            if (!row_in_force(story, row) || !range_holds(&row->range, ip)) {
                continue;
            }
            struct ip width = range_width(&row->range);
            int order = ip_compare(&width, &best_width);
            if (best == LISTING_NONE || order < 0 || (order == 0 && says > best)) {
                best = says;
                best_width = width;
            }
        }
        if (best != LISTING_NONE) {
            return best;
        }
    }
    return LISTING_NONE;
}

/* Does a local_domain or own_name row, or the host's own name, make the domain ours? */
static bool is_ours(const struct story *story, const char *domain, const char *host)
{
    char folded[ADDRESS_DOMAIN_ROOM];

    if (host[0] != '\0' && domain_fold(host, strlen(host), folded) && strcmp(folded, domain) == 0) {
        return true;
    }
    for (size_t i = 0; i < story->row_count; i++) {
        const struct line_cells *row = &story->rows[i];
        if (!row->taken || (row->table != TABLE_LOCAL_DOMAIN && row->table != TABLE_OWN_NAME)) {
            continue;
        }
        size_t size = strlen(domain), end = strlen(row->domain);
        if (strcmp(domain, row->domain) == 0 ||
            (row->table == TABLE_LOCAL_DOMAIN && row->cells[1].integer == 1 && size > end + 1 &&
             domain[size - end - 1] == '.' && strcmp(domain + size - end, row->domain) == 0)) {
            return true;
        }
    }
    return false;
}

static const struct line_cells *row_of(const struct story *story, struct rule rule)
{
    for (size_t i = 0; i < story->row_count; i++) {
        if (story->rows[i].taken && story->rows[i].table == rule.table &&
            story->rows[i].id == rule.row) {
            return &story->rows[i];
        }
    }
    return NULL;
}

/* -- what must hold ------------------------------------------------------------------------- */

static void check_rule(const struct story *story, const struct policy *policy, struct rule rule)
{
    char text[RULE_TEXT], begin[64];

    MUST(rule.table == TABLE_NONE || row_of(story, rule) != NULL);
    MUST(policy_rule_text(policy, rule, text) == text && is_sentence(text));
    snprintf(begin, sizeof begin, "%s %" PRId64, table_name(rule.table), rule.row);
    MUST(rule.table == TABLE_NONE ? strcmp(text, "built in") == 0
                                  : strncmp(text, begin, strlen(begin)) == 0);
}

/* The sentence begins with a table's name and the number of a row. */
static void check_sentence(const struct why *why, enum table table, int64_t id)
{
    char begin[64];

    MUST(is_sentence(why->text));
    if (table == TABLE_NONE) { /* any */
        for (unsigned t = 1; t < TABLE_COUNT; t++) {
            size_t size = strlen(table_name((enum table)t));
            if (strncmp(why->text, table_name((enum table)t), size) == 0 &&
                why->text[size] == ' ') {
                return;
            }
        }
        MUST(false);
    }
    snprintf(begin, sizeof begin, "%s %" PRId64 ": ", table_name(table), id);
    MUST(strncmp(why->text, begin, strlen(begin)) == 0);
}

static struct policy_build *take_rows(struct story *story, bool again)
{
    struct policy_build *build = policy_build_new();
    struct why why;

    MUST(build != NULL);
    for (size_t i = 0; i < story->row_count; i++) {
        struct line_cells *row = &story->rows[i];
        if (again && !row->taken) {
            continue;
        }
        why.text[0] = '\0';
        enum status status = policy_build_row(build, row->table, row->id, row->cells, &why);
        MUST(status == STATUS_OK || status == STATUS_BAD);
        MUST(!again || status == STATUS_OK);
        row->taken = status == STATUS_OK;
        if (row->taken) {
            check_taken(row);
        } else {
            check_sentence(&why, row->table, row->id);
        }
    }
    return build;
}

static bool same_verdict(const struct verdict *a, const struct verdict *b)
{
    return a->action == b->action && a->reason == b->reason && a->check == b->check &&
           a->rule.table == b->rule.table && a->rule.row == b->rule.row && a->kind == b->kind &&
           a->observed == b->observed && a->recipient_local == b->recipient_local;
}

static const char host_name[] = "mx.fuzz.example";

static void judge(const struct session *session, struct facts *facts, const struct policy *policy,
                  struct verdict *verdict)
{
    const char *flags = session->field[5].bytes;
    static const struct usage usage;

    memset(facts, 0, sizeof *facts);
    facts->post = strchr(flags, 'd') != NULL ? POST_DOOR : POST_MILTER;
    facts->submission = strchr(flags, 's') != NULL;
    facts->not_for_mta = strchr(flags, 'm') != NULL;
    facts->client_known = ip_parse(session->field[0].bytes, &facts->client);
    facts->listener_known = ip_parse("203.0.113.5", &facts->listener);
    facts->client_name = (struct text){"client.invalid", 14};
    facts->helo = session->field[1];
    facts->host = strchr(flags, 'h') != NULL ? (struct text){host_name, sizeof host_name - 1}
                                             : (struct text){"", 0};
    facts->login = session->field[2];
    facts->sender = session->field[3];
    facts->recipient = session->field[4];
    decide(policy, facts, &usage, verdict);
}

static void check_session(const struct story *story, const struct session *session,
                          const struct policy *policy, const struct policy *resealed)
{
    struct verdict verdict, again;
    struct facts facts;
    struct address recipient;
    struct ip ip;

    judge(session, &facts, policy, &verdict);
    judge(session, &facts, resealed, &again);
    MUST(same_verdict(&verdict, &again));
    MUST((unsigned)verdict.reason < REASON_COUNT && verdict.reason != REASON_NONE);
    MUST(reason_row(verdict.reason)->action == verdict.action);
    MUST((verdict.action == ACTION_PASS) == (verdict.check == CHECK_NONE));
    check_rule(story, policy, verdict.rule);
    for (unsigned check = 0; check < CHECK_COUNT; check++) {
        check_rule(story, policy, verdict.trail[check].rule);
        check_rule(story, policy, verdict.trail[check].exemption);
    }
    if (facts.submission) {
        MUST(verdict.action == ACTION_PASS);
        return;
    }
    /* what a narrower row carves out of client_host has no right to relay */
    bool host = facts.client_known && is_client_host(story, &facts.client) &&
                listed(story, &facts.client, false) <= LISTING_ACCEPT;
    MUST(verdict.kind == (facts.login.size > 0 ? KIND_LOGIN
                          : host               ? KIND_CLIENT_HOST
                                               : KIND_STRANGER));
    address_parse(facts.recipient.bytes, facts.recipient.size, &recipient);
    bool ours = recipient.kind == ADDRESS_MAILBOX && !recipient.routed &&
                (recipient.domain[0] == '\0' ||
                 (recipient.literal
                      ? ip_parse(recipient.domain, &ip) && ip_compare(&ip, &facts.listener) == 0
                      : is_ours(story, recipient.domain, facts.host.bytes)));
    MUST(verdict.recipient_local == ours);
    if (verdict.action != ACTION_PASS) {
        return;
    }
    MUST(recipient.kind == ADDRESS_MAILBOX);
    if ((!ours || facts.not_for_mta) && facts.login.size == 0) {
        MUST(host); /* a stranger never sends elsewhere */
    }
    if (!ours && facts.login.size > 0 && facts.post == POST_DOOR) {
        const struct line_cells *row = row_of(story, verdict.rule);
        MUST(row != NULL && row->table == TABLE_IDENTITY && row->cells[1].integer == 1 &&
             row_in_force(story, row));
    }
}

/* The row that is named holds the address and is in force. */
static void check_speaks(const struct story *story, struct rule rule, const struct ip *ip)
{
    const struct line_cells *row = row_of(story, rule);

    MUST(row == NULL || (range_holds(&row->range, ip) && row_in_force(story, row)));
}

static void check_client(const struct story *story, const struct policy *policy,
                         const struct ip *ip)
{
    struct rule rule;

    MUST(policy_client_host(policy, ip, &rule) == is_client_host(story, ip));
    check_rule(story, policy, rule);
    check_speaks(story, rule, ip);
    for (int login = 0; login < 2; login++) {
        enum listing says = listed(story, ip, login == 1);
        MUST(policy_listed(policy, ip, login == 1, &rule) == says);
        check_rule(story, policy, rule);
        MUST((rule.table == TABLE_NONE) == (says == LISTING_NONE));
        check_speaks(story, rule, ip);
    }
}

/* Inside, at and just outside both ends of every range. */
static void check_edges(const struct story *story, const struct policy *policy)
{
    for (size_t i = 0; i < story->row_count; i++) {
        const struct line_cells *row = &story->rows[i];
        if (!row->taken || (row->table != TABLE_CLIENT_HOST && row->table != TABLE_IP_RANGE)) {
            continue;
        }
        struct ip before = row->range.first, after = row->range.last;
        int at = 15;
        while (at >= 0 && before.byte[at]-- == 0) {
            at--;
        }
        at = 15;
        while (at >= 0 && ++after.byte[at] == 0) {
            at--;
        }
        check_client(story, policy, &row->range.first);
        check_client(story, policy, &row->range.last);
        check_client(story, policy, &before);
        check_client(story, policy, &after);
    }
}

/* Client hosts hold no more public IPv4 addresses than the setting allows: in whole /8, those with
 * a private part left out. */
static void check_most(const struct story *story, const struct policy *policy)
{
    int64_t held = 0;

    for (unsigned first = 1; first < 256; first++) {
        const unsigned char low[4] = {(unsigned char)first, 0, 0, 0};
        const unsigned char high[4] = {(unsigned char)first, 255, 255, 255};
        struct ip a = ip_from_ipv4(low), b = ip_from_ipv4(high);
        bool all = false;
        for (size_t i = 0; i < story->row_count && !all; i++) {
            const struct line_cells *row = &story->rows[i];
            all = row->taken && row->table == TABLE_CLIENT_HOST && range_holds(&row->range, &a) &&
                  range_holds(&row->range, &b) && row_in_force(story, row);
        }
        held += all && first != 10 && first != 100 && first != 127 && first != 169 &&
                first != 172 && first != 192;
    }
    MUST(held * (INT64_C(1) << 24) <= policy_number(policy, SETTING_CLIENT_HOST_MOST));
}

struct proving {
    const struct story *story;
    const char *host;
    size_t cases, open;
};

/* The battery's plain forms are open exactly where the third party's domain is ours. */
static void check_case(void *context, const struct proof_case *tried)
{
    struct proving *proving = context;
    struct address address;

    proving->cases++;
    proving->open += !tried->held;
    if (strcmp(tried->form, "<%U@%E>") == 0) {
        address_parse(tried->recipient, strlen(tried->recipient), &address);
        MUST(address.kind == ADDRESS_MAILBOX);
        MUST(tried->held != is_ours(proving->story, address.domain, proving->host));
    }
}

static void check_proof(const struct story *story, const struct policy *policy)
{
    const char *own = policy_own_name(policy, 0, NULL);
    struct proving proving = {story, own != NULL ? own : "localhost", 0, 0};
    struct why why = {""};
    size_t cases = 0;
    enum status status = proof_run(policy, check_case, &proving, &cases, &why);

    MUST(cases == proving.cases && cases > 100);
    MUST(status == (proving.open > 0 ? STATUS_BAD : STATUS_OK));
    MUST(status == STATUS_OK || is_sentence(why.text));
}

/* The first moment at which a row that is in force goes out of it. */
static int64_t next_expiry(const struct story *story)
{
    int64_t next = INT64_MAX;

    for (size_t i = 0; i < story->row_count; i++) {
        const struct line_cells *row = &story->rows[i];
        if (row->taken && row->expires > story->seconds && row->expires < next) {
            next = row->expires;
        }
    }
    return next == INT64_MAX ? next : next * 1000;
}

/* Everything about one sealed policy; resealed is the same, made again. */
static void check_policy(const struct story *story, const struct policy *policy,
                         const struct policy *resealed)
{
    size_t taken = 0;

    for (size_t i = 0; i < story->row_count; i++) {
        const struct line_cells *row = &story->rows[i];
        if (row->taken) {
            taken++;
            check_rule(story, policy, (struct rule){row->table, row->id});
        }
    }
    MUST(policy_row_count(policy) == taken && policy_sealed_at(policy) == story->now);
    MUST(policy_next_expiry(policy) == next_expiry(story));
    MUST(policy_next_expiry(resealed) == policy_next_expiry(policy));
    check_most(story, policy);
    check_edges(story, policy);
    for (size_t i = 0; i < story->session_count; i++) {
        check_session(story, &story->sessions[i], policy, resealed);
    }
}

static void run(struct story *story)
{
    struct policy *policy = NULL, *again = NULL, *later = NULL, *later_again = NULL;
    struct policy_build *build = take_rows(story, false);
    struct why why = {""};

    /* A build that refused a row must not be sealed: the good rows make another. */
    policy_build_free(build);
    build = take_rows(story, true);
    if (policy_seal(build, story->now, &policy, &why) != STATUS_OK) {
        MUST(policy == NULL);
        check_sentence(&why, TABLE_NONE, 0);
        policy_build_free(build);
        return;
    }
    policy_build_free(build);
    MUST(policy_reseal(policy, story->now, &again, &why) == STATUS_OK);
    check_policy(story, policy, again);
    if (story->proof) {
        check_proof(story, policy);
    }
    if (policy_next_expiry(policy) != INT64_MAX) {
        /* fewer rows: nothing that was good becomes bad */
        story->now = policy_next_expiry(policy);
        story->seconds = story->now / 1000;
        MUST(policy_reseal(policy, story->now, &later, &why) == STATUS_OK);
        policy_free(policy); /* the rows outlive what they were first sealed into */
        policy = NULL;
        MUST(policy_reseal(later, story->now, &later_again, &why) == STATUS_OK);
        check_policy(story, later, later_again);
    }
    policy_free(policy);
    policy_free(again);
    policy_free(later);
    policy_free(later_again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct story story;

    if (size > INPUT_MOST) {
        return 0;
    }
    read_story(&story, data, size);
    run(&story);
    free(story.text);
    return 0;
}
