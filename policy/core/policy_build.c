/* Making a policy: each row is checked again here, whatever the database let in. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "core/policy_build.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/policy_rows.h"
#include "core/stamp.h"

struct policy_build {
    struct policy_rows *rows;
};

struct policy_build *policy_build_new(void)
{
    struct policy_build *build = calloc(1, sizeof *build);

    if (build != NULL && (build->rows = policy_rows_new()) == NULL) {
        free(build);
        build = NULL;
    }
    return build;
}

void policy_build_free(struct policy_build *build)
{
    if (build != NULL) {
        policy_rows_release(build->rows);
        free(build);
    }
}

struct policy_rows *policy_build_rows(const struct policy_build *build)
{
    return build->rows;
}

const char *const *policy_columns(enum table table)
{
    static const char *const columns[TABLE_COUNT][12] = {
        [TABLE_LOCAL_DOMAIN] = {"domain", "subdomains", "mail_from", NULL},
        [TABLE_OWN_NAME] = {"name", NULL},
        [TABLE_CLIENT_HOST] = {"range", "expires", NULL},
        [TABLE_IP_RANGE] = {"range", "verdict", "applies_to", "source", "expires", NULL},
        [TABLE_EXEMPTION] = {"range", "check", "sender", "expires", NULL},
        [TABLE_IDENTITY] = {"name", "may_send", "senders", "expires", NULL},
        [TABLE_IDENTITY_SENDER] = {"identity", "sender", "expires", NULL},
        [TABLE_IDENTITY_HOST] = {"identity", "range", "expires", NULL},
        [TABLE_RECEIVE_ONLY] = {"address", NULL},
        [TABLE_SPAM_TRAP] = {"address", "block_for", NULL},
        [TABLE_RATE_LIMIT] = {"name", "subject", "who", "counts", "direction", "allowed", "seconds",
                              "then", "block_for", NULL},
        [TABLE_CHECK_MODE] = {"check", "mode", NULL},
        [TABLE_SETTING] = {"name", "value", NULL},
    };
    return (unsigned)table > TABLE_NONE && (unsigned)table < TABLE_COUNT ? columns[table] : NULL;
}

/* -- cells ---------------------------------------------------------------------------------- */

/* One row on its way in. */
struct intake {
    struct policy_rows *rows;
    enum table table;
    int64_t id;
    const struct cell *cells;
    struct why *why;
};

static enum status bad(const struct intake *in, const char *column, const char *fault,
                       const char *value, size_t size)
{
    char shown[160] = "";
    if (value != NULL) {
        printable_copy(shown, sizeof shown, value, size, 32);
    }
    return why_set(in->why, STATUS_BAD, "%s %" PRId64 ": %s%s%s%s", table_name(in->table), in->id,
                   column, shown[0] != '\0' ? " " : "", shown, fault);
}

static enum status no_memory(const struct intake *in)
{
    return why_set(in->why, STATUS_BROKEN, "%s %" PRId64 ": no memory left for this row",
                   table_name(in->table), in->id);
}

static const char *column(const struct intake *in, unsigned n)
{
    return policy_columns(in->table)[n];
}

/* A text without NUL or other control characters, not longer than most octets. */
static enum status cell_text(const struct intake *in, unsigned n, size_t most, const char **text)
{
    const struct cell *cell = &in->cells[n];
    if (cell->type != CELL_TEXT) {
        return bad(in, column(in, n), cell->type == CELL_NULL ? " is missing" : " is not a text",
                   NULL, 0);
    }
    if (cell->size > most) {
        return bad(in, column(in, n), " is too long", cell->text, cell->size);
    }
    for (size_t i = 0; i < cell->size; i++) {
        if ((unsigned char)cell->text[i] < 0x20 || cell->text[i] == 0x7f) {
            return bad(in, column(in, n), " holds a control character", cell->text, cell->size);
        }
    }
    *text = cell->text;
    return STATUS_OK;
}

static enum status cell_integer(const struct intake *in, unsigned n, int64_t least, int64_t most,
                                int64_t *number)
{
    const struct cell *cell = &in->cells[n];
    char fault[96];

    if (cell->type != CELL_INTEGER || cell->integer < least || cell->integer > most) {
        snprintf(fault, sizeof fault, " is not a whole number from %" PRId64 " to %" PRId64, least,
                 most);
        return bad(in, column(in, n), fault, NULL, 0);
    }
    *number = cell->integer;
    return STATUS_OK;
}

/* One of several words, ended by NULL; number becomes its place. */
static enum status cell_word(const struct intake *in, unsigned n, const char *const *words,
                             unsigned *number)
{
    const char *text = "";
    char fault[128] = " is not one of";
    enum status status = cell_text(in, n, 64, &text);

    if (status != STATUS_OK) {
        return status;
    }
    for (unsigned i = 0; words[i] != NULL; i++) {
        if (strcmp(words[i], text) == 0) {
            *number = i;
            return STATUS_OK;
        }
        size_t used = strlen(fault);
        snprintf(fault + used, sizeof fault - used, "%s %s", i > 0 ? "," : "", words[i]);
    }
    return bad(in, column(in, n), fault, text, strlen(text));
}

static enum status cell_range(const struct intake *in, unsigned n, struct range *range)
{
    const char *text = "";
    struct why inner;
    enum status status = cell_text(in, n, 255, &text);

    if (status != STATUS_OK) {
        return status;
    }
    status = range_parse(text, in->cells[n].size, range, &inner);
    if (status != STATUS_OK) {
        why_set(in->why, status, "%s %" PRId64 ": %s", table_name(in->table), in->id, inner.text);
    }
    return status;
}

static enum status cell_expires(const struct intake *in, unsigned n, int64_t *expires)
{
    const char *text = "";

    *expires = EXPIRES_NEVER;
    if (in->cells[n].type == CELL_NULL) {
        return STATUS_OK;
    }
    enum status status = cell_text(in, n, 64, &text);
    if (status != STATUS_OK) {
        return status;
    }
    if (in->cells[n].size > STAMP_SECONDS + 1 || !stamp_read(text, in->cells[n].size, expires)) {
        return bad(in, "expires", " is not a UTC time like 2026-11-24 03:00:00", text,
                   in->cells[n].size);
    }
    /* before 1970: long out of force */
    *expires = *expires < 0 ? 0 : *expires / 1000;
    return STATUS_OK;
}

static enum status cell_domain(const struct intake *in, unsigned n,
                               char domain[ADDRESS_DOMAIN_ROOM])
{
    const char *text = "";
    enum status status = cell_text(in, n, 1024, &text);

    errno = 0;
    if (status == STATUS_OK && !domain_fold(text, in->cells[n].size, domain)) {
        status = errno == ENOMEM
                     ? no_memory(in)
                     : bad(in, column(in, n), " is not a domain name", text, in->cells[n].size);
    }
    return status;
}

/* Brings an address of a table to the form it is compared in: fold@domain, @domain (if
 * whole_domains), or a bare local part (if bare). */
static enum status cell_address(const struct intake *in, unsigned n, bool whole_domains, bool bare,
                                char form[ADDRESS_FORM_ROOM])
{
    const char *text = "";
    struct address address;
    enum status status = cell_text(in, n, 1024, &text);

    if (status != STATUS_OK) {
        return status;
    }
    if (whole_domains && text[0] == '@') {
        form[0] = '@';
        errno = 0;
        if (domain_fold(text + 1, in->cells[n].size - 1, form + 1)) {
            return STATUS_OK;
        }
        if (errno == ENOMEM) {
            return no_memory(in);
        }
        return bad(in, column(in, n), " is not @ and a domain name", text, in->cells[n].size);
    }
    address_parse(text, in->cells[n].size, &address);
    if (address.out_of_memory) {
        return no_memory(in);
    }
    if (text[0] == '<' || address.kind != ADDRESS_MAILBOX || address.routed ||
        (address.domain[0] == '\0' && !bare)) {
        return bad(in, column(in, n), " is not an address", text, in->cells[n].size);
    }
    snprintf(form, ADDRESS_FORM_ROOM, "%s%s%s", address.fold, address.domain[0] != '\0' ? "@" : "",
             address.domain);
    return STATUS_OK;
}

/* A login as it is compared: ASCII lower case, the domain behind an @ in A-labels. */
static enum status cell_login(const struct intake *in, unsigned n, char form[ADDRESS_PATH_MOST + 1])
{
    const char *text = "";
    enum status status = cell_text(in, n, ADDRESS_PATH_MOST, &text);

    if (status == STATUS_OK && text[0] == '\0') {
        status = bad(in, column(in, n), " is empty", NULL, 0);
    }
    if (status == STATUS_OK) {
        errno = 0;
        login_fold(text, in->cells[n].size, form);
        status = errno == ENOMEM ? no_memory(in) : STATUS_OK;
    }
    return status;
}

/* -- one function a table ------------------------------------------------------------------- */

static enum status take_local_domain(const struct intake *in)
{
    static const char *const mail_from[] = {"ours", "anyone", NULL};
    char domain[ADDRESS_DOMAIN_ROOM];
    int64_t subdomains = 0;
    unsigned anyone = 0;
    enum status status = cell_domain(in, 0, domain);

    if (status == STATUS_OK) {
        status = cell_integer(in, 1, 0, 1, &subdomains);
    }
    if (status == STATUS_OK) {
        status = cell_word(in, 2, mail_from, &anyone);
    }
    if (status != STATUS_OK) {
        return status;
    }
    struct local_domain_row *row = list_add(&in->rows->local_domain);
    if (row == NULL || !text_add(in->rows, domain, &row->domain)) {
        return no_memory(in);
    }
    row->id = in->id;
    row->subdomains = subdomains != 0;
    row->anyone = anyone != 0;
    return STATUS_OK;
}

static enum status add_name(const struct intake *in, struct list *list, const char *name)
{
    struct name_row *row = list_add(list);
    if (row == NULL || !text_add(in->rows, name, &row->name)) {
        return no_memory(in);
    }
    row->id = in->id;
    return STATUS_OK;
}

static enum status take_own_name(const struct intake *in)
{
    char name[ADDRESS_DOMAIN_ROOM];
    enum status status = cell_domain(in, 0, name);
    return status == STATUS_OK ? add_name(in, &in->rows->own_name, name) : status;
}

static enum status take_receive_only(const struct intake *in)
{
    char form[ADDRESS_FORM_ROOM];
    enum status status = cell_address(in, 0, false, true, form);
    return status == STATUS_OK ? add_name(in, &in->rows->receive_only, form) : status;
}

static enum status take_spam_trap(const struct intake *in)
{
    char form[ADDRESS_FORM_ROOM];
    int64_t block_for = 0;
    enum status status = cell_address(in, 0, false, true, form);

    if (status == STATUS_OK) {
        status = cell_integer(in, 1, 1, 31536000, &block_for);
    }
    if (status == STATUS_OK) {
        status = add_name(in, &in->rows->spam_trap, form);
    }
    if (status == STATUS_OK) {
        struct name_row *rows = in->rows->spam_trap.items;
        rows[in->rows->spam_trap.count - 1].block_for = (uint32_t)block_for;
    }
    return status;
}

static enum status take_client_host(const struct intake *in)
{
    struct range range, nat64;
    int64_t expires;
    enum status status = cell_range(in, 0, &range);

    if (status == STATUS_OK) {
        status = cell_expires(in, 1, &expires);
    }
    if (status != STATUS_OK) {
        return status;
    }
    ip_parse("64:ff9b::", &nat64.first);
    ip_parse("64:ff9b::ffff:ffff", &nat64.last);
    if (range_holds(&nat64, &range.first) || range_holds(&range, &nat64.first)) {
        return bad(in, "range",
                   " reaches into 64:ff9b::/96, behind which all of IPv4 stands (RFC 6052)", NULL,
                   0);
    }
    struct range_row *row = list_add(&in->rows->client_host);
    if (row == NULL) {
        return no_memory(in);
    }
    row->range = range;
    row->id = in->id;
    row->expires = expires;
    return STATUS_OK;
}

static enum status take_ip_range(const struct intake *in)
{
    static const char *const verdicts[] = {"accept", "tempfail", "reject", NULL};
    static const char *const audiences[] = {"strangers", "everyone", NULL};
    const char *source = NULL;
    struct range range;
    unsigned verdict = 0, audience = 0;
    int64_t expires;
    enum status status = cell_range(in, 0, &range);

    if (status == STATUS_OK) {
        status = cell_word(in, 1, verdicts, &verdict);
    }
    if (status == STATUS_OK) {
        status = cell_word(in, 2, audiences, &audience);
    }
    if (status == STATUS_OK && in->cells[3].type != CELL_NULL) {
        status = cell_text(in, 3, 1024, &source);
    }
    if (status == STATUS_OK) {
        status = cell_expires(in, 4, &expires);
    }
    if (status != STATUS_OK) {
        return status;
    }
    uint64_t word = WORD(expires, source != NULL, audience, verdict + LISTING_ACCEPT);
    if (ip_is_ipv4(&range.first)) {
        struct listing_row4 *row = list_add(&in->rows->listing4);
        if (row == NULL) {
            return no_memory(in);
        }
        *row = (struct listing_row4){ip_ipv4_number(&range.first), ip_ipv4_number(&range.last),
                                     in->id, word};
    } else {
        struct listing_row6 *row = list_add(&in->rows->listing6);
        if (row == NULL) {
            return no_memory(in);
        }
        *row = (struct listing_row6){range, in->id, word};
    }
    return STATUS_OK;
}

static enum status take_exemption(const struct intake *in)
{
    static const char *const checks[] = {"block", "listed", "sender", "helo", "trap", "rate", NULL};
    char sender[ADDRESS_FORM_ROOM] = "";
    struct range range;
    unsigned check = 0;
    int64_t expires;
    enum status status = cell_range(in, 0, &range);

    if (status == STATUS_OK) {
        status = cell_word(in, 1, checks, &check);
    }
    if (status == STATUS_OK && in->cells[2].type != CELL_NULL) {
        status = cell_address(in, 2, true, false, sender);
    }
    if (status == STATUS_OK) {
        status = cell_expires(in, 3, &expires);
    }
    if (status != STATUS_OK) {
        return status;
    }
    struct range_row *row = list_add(&in->rows->exemption);
    if (row == NULL || !text_add(in->rows, sender, &row->text)) {
        return no_memory(in);
    }
    row->range = range;
    row->id = in->id;
    row->expires = expires;
    row->check = check_named(checks[check]);
    return STATUS_OK;
}

static enum status take_identity(const struct intake *in)
{
    static const char *const senders_words[] = {"any", "own", "listed", NULL};
    char name[ADDRESS_PATH_MOST + 1];
    int64_t may_send, expires;
    unsigned senders = 0;
    enum status status = cell_login(in, 0, name);

    if (status == STATUS_OK) {
        status = cell_integer(in, 1, 0, 1, &may_send);
    }
    if (status == STATUS_OK) {
        status = cell_word(in, 2, senders_words, &senders);
    }
    if (status == STATUS_OK) {
        status = cell_expires(in, 3, &expires);
    }
    if (status != STATUS_OK) {
        return status;
    }
    struct identity_row *row = list_add(&in->rows->identity);
    if (row == NULL || !text_add(in->rows, name, &row->name)) {
        return no_memory(in);
    }
    row->id = in->id;
    row->expires = expires;
    row->may_send = may_send != 0;
    row->senders = (enum senders)senders;
    return STATUS_OK;
}

static enum status take_identity_sender(const struct intake *in)
{
    char identity[ADDRESS_PATH_MOST + 1], sender[ADDRESS_FORM_ROOM];
    int64_t expires;
    enum status status = cell_login(in, 0, identity);

    if (status == STATUS_OK) {
        status = cell_address(in, 1, true, false, sender);
    }
    if (status == STATUS_OK) {
        status = cell_expires(in, 2, &expires);
    }
    if (status != STATUS_OK) {
        return status;
    }
    struct identity_sender_row *row = list_add(&in->rows->identity_sender);
    if (row == NULL || !text_add(in->rows, identity, &row->identity) ||
        !text_add(in->rows, sender, &row->sender)) {
        return no_memory(in);
    }
    row->id = in->id;
    row->expires = expires;
    return STATUS_OK;
}

static enum status take_identity_host(const struct intake *in)
{
    char identity[ADDRESS_PATH_MOST + 1];
    struct range range;
    int64_t expires;
    enum status status = cell_login(in, 0, identity);

    if (status == STATUS_OK) {
        status = cell_range(in, 1, &range);
    }
    if (status == STATUS_OK) {
        status = cell_expires(in, 2, &expires);
    }
    if (status != STATUS_OK) {
        return status;
    }
    struct range_row *row = list_add(&in->rows->identity_host);
    if (row == NULL || !text_add(in->rows, identity, &row->text)) {
        return no_memory(in);
    }
    row->range = range;
    row->id = in->id;
    row->expires = expires;
    return STATUS_OK;
}

/* What a rate_limit row's `who` must be for its subject; form becomes how it is compared. */
static enum status rate_who(const struct intake *in, enum subject subject, struct limit_row *row,
                            char form[ADDRESS_FORM_ROOM])
{
    const char *who = "";
    enum status status = cell_text(in, 2, ADDRESS_PATH_MOST, &who);

    form[0] = '\0';
    if (status != STATUS_OK) {
        return status;
    }
    if (strcmp(who, "*") == 0) {
        memcpy(form, "*", 2);
        return STATUS_OK;
    }
    switch (subject) {
    case SUBJECT_CLIENT:
    case SUBJECT_WINDOW:
        row->has_range = true;
        return cell_range(in, 2, &row->range);
    case SUBJECT_IDENTITY:
        return cell_login(in, 2, form);
    case SUBJECT_SENDER:
        return cell_address(in, 2, true, false, form);
    default:
        return bad(in, "who", " is not * (a limit on everyone has no other)", who, strlen(who));
    }
}

static enum status take_rate_limit(const struct intake *in)
{
    static const char *const subjects[] = {"client",   "identity",     "sender",
                                           "everyone", "login-window", NULL};
    static const char *const counts_words[] = {"messages", "recipients", "refusals", NULL};
    static const char *const directions[] = {"in", "out", "any", NULL};
    static const char *const then_words[] = {"tempfail", "reject", "block", NULL};
    const char *name = "";
    char who[ADDRESS_FORM_ROOM];
    unsigned subject = 0, counts = 0, direction = 0, then = 0;
    int64_t allowed = 0, seconds, block_for;
    struct limit_row taken;
    enum status status = cell_text(in, 0, 255, &name);

    if (status == STATUS_OK && name[0] == '\0') {
        status = bad(in, "name", " is empty", NULL, 0);
    }
    if (status == STATUS_OK) {
        status = cell_word(in, 1, subjects, &subject);
    }
    memset(&taken, 0, sizeof taken);
    if (status == STATUS_OK) {
        status = rate_who(in, (enum subject)subject, &taken, who);
    }
    if (status == STATUS_OK) {
        status = cell_word(in, 3, counts_words, &counts);
    }
    if (status == STATUS_OK) {
        status = cell_word(in, 4, directions, &direction);
    }
    if (status == STATUS_OK && in->cells[5].type != CELL_NULL) {
        status = cell_integer(in, 5, 0, 1000000000, &allowed);
    }
    if (status == STATUS_OK) {
        status = cell_integer(in, 6, 1, 31536000, &seconds);
    }
    if (status == STATUS_OK) {
        status = cell_word(in, 7, then_words, &then);
    }
    if (status == STATUS_OK) {
        status = cell_integer(in, 8, 1, 31536000, &block_for);
    }
    if (status == STATUS_OK && then == 2 && subject > 1) {
        status = bad(in, "then", " block is only for client and identity", NULL, 0);
    }
    if (status == STATUS_OK && counts == 2 && then != 2) {
        status = bad(in, "counts", " refusals goes only with then block", NULL, 0);
    }
    if (status != STATUS_OK) {
        return status;
    }
    struct limit_row *row = list_add(&in->rows->rate_limit);
    if (row == NULL || !text_add(in->rows, name, &taken.name) ||
        !text_add(in->rows, who, &taken.who)) {
        return no_memory(in);
    }
    taken.id = in->id;
    taken.unlimited = in->cells[5].type == CELL_NULL;
    taken.limit = (struct limit){
        .rule = {TABLE_RATE_LIMIT, in->id},
        .subject = (enum subject)subject,
        .counts = (enum counts)counts,
        .direction = (enum direction)direction,
        .then = (enum consequence)then,
        .allowed = (uint64_t)allowed,
        .seconds = (uint32_t)seconds,
        .block_for = (uint32_t)block_for,
    };
    *row = taken;
    return STATUS_OK;
}

static enum status take_check_mode(const struct intake *in)
{
    static const char *const modes[] = {"enforce", "observe", "off", NULL};
    const char *name = "";
    unsigned mode = 0;
    enum status status = cell_text(in, 0, 64, &name);

    if (status == STATUS_OK && check_named(name) == CHECK_NONE) {
        status = bad(in, "check", " is not the name of a check", name, strlen(name));
    }
    if (status == STATUS_OK) {
        status = cell_word(in, 1, modes, &mode);
    }
    if (status != STATUS_OK) {
        return status;
    }
    enum check check = check_named(name);
    if ((check == CHECK_ADDRESS || check == CHECK_RELAY) && mode != MODE_ENFORCE) {
        return bad(in, "mode", " of address and relay is always enforce", NULL, 0);
    }
    if (in->rows->mode[check].id != 0) {
        return bad(in, "check", " has a mode already", name, strlen(name));
    }
    in->rows->mode[check] = (struct mode_row){in->id, (enum check_mode)mode};
    return STATUS_OK;
}

/* The form of a text setting: what its value must look like. */
static enum status setting_text(const struct intake *in, enum setting setting, const char *text)
{
    char form[ADDRESS_FORM_ROOM], domain[ADDRESS_DOMAIN_ROOM];
    size_t size = strlen(text);

    switch (setting) {
    case SETTING_MODE:
        if (strcmp(text, "enforce") != 0 && strcmp(text, "observe") != 0) {
            return bad(in, "mode", " is not one of enforce, observe", text, size);
        }
        return STATUS_OK;
    case SETTING_HELP_URL:
        for (size_t i = 0; i < size; i++) {
            if (text[i] <= 0x20 || text[i] >= 0x7f) {
                return bad(in, "help_url", " is not ASCII without spaces", text, size);
            }
        }
        return size > 200 ? bad(in, "help_url", " is longer than 200", text, size) : STATUS_OK;
    case SETTING_LOGIN_REALM:
    case SETTING_LOGIN_DOMAIN:
        return size == 0 || domain_fold(text, size, domain)
                   ? STATUS_OK
                   : bad(in, setting_kind(setting)->name, " is not a domain name", text, size);
    case SETTING_RECIPIENT_DELIMITER:
        return size == 0 || (size == 1 && strchr("!#$%&'*+/=?^_`{|}~.-", text[0]) != NULL)
                   ? STATUS_OK
                   : bad(in, "recipient_delimiter", " is not one sign such as + or -", text, size);
    case SETTING_REPORT_ADDRESS:
        return size == 0 ? STATUS_OK : cell_address(in, 1, false, true, form);
    default:
        return STATUS_OK;
    }
}

static enum status take_setting(const struct intake *in)
{
    const char *name = "", *text = "";
    char digits[32];
    enum status status = cell_text(in, 0, 64, &name);

    if (status != STATUS_OK) {
        return status;
    }
    enum setting i = setting_named(name);
    if (i == SETTING_COUNT) {
        return bad(in, "name", " is not the name of a setting", name, strlen(name));
    }
    if (in->rows->setting[i].id != 0) {
        return bad(in, "name", " is set already", name, strlen(name));
    }
    const struct setting_kind *kind = setting_kind(i);
    struct setting_row row = {.id = in->id};
    if (in->cells[1].type == CELL_INTEGER) {
        snprintf(digits, sizeof digits, "%" PRId64, in->cells[1].integer);
        text = digits;
    } else {
        status = cell_text(in, 1, 1024, &text);
    }
    if (status == STATUS_OK && kind->is_text) {
        status = setting_text(in, i, text);
    } else if (status == STATUS_OK) {
        char *end = NULL;
        long long number = strtoll(text, &end, 10);
        snprintf(digits, sizeof digits, "%lld", number);
        if (strcmp(digits, text) != 0 || number < kind->least || number > kind->most) {
            char fault[96];
            snprintf(fault, sizeof fault, " is not a whole number from %" PRId64 " to %" PRId64,
                     kind->least, kind->most);
            status = bad(in, kind->name, fault, text, strlen(text));
        }
        row.number = number;
    }
    if (status == STATUS_OK && !text_add(in->rows, text, &row.text)) {
        status = no_memory(in);
    }
    if (status == STATUS_OK) {
        in->rows->setting[i] = row;
    }
    return status;
}

enum status policy_build_row(struct policy_build *build, enum table table, int64_t row,
                             const struct cell *cells, struct why *why)
{
    static enum status (*const take[TABLE_COUNT])(const struct intake *) = {
        [TABLE_LOCAL_DOMAIN] = take_local_domain,
        [TABLE_OWN_NAME] = take_own_name,
        [TABLE_CLIENT_HOST] = take_client_host,
        [TABLE_IP_RANGE] = take_ip_range,
        [TABLE_EXEMPTION] = take_exemption,
        [TABLE_IDENTITY] = take_identity,
        [TABLE_IDENTITY_SENDER] = take_identity_sender,
        [TABLE_IDENTITY_HOST] = take_identity_host,
        [TABLE_RECEIVE_ONLY] = take_receive_only,
        [TABLE_SPAM_TRAP] = take_spam_trap,
        [TABLE_RATE_LIMIT] = take_rate_limit,
        [TABLE_CHECK_MODE] = take_check_mode,
        [TABLE_SETTING] = take_setting,
    };
    struct intake in = {build->rows, table, row, cells, why};

    if (policy_columns(table) == NULL || build->rows->sealed) {
        return why_set(why, STATUS_BROKEN, "a row came to a table or a policy that takes none");
    }
    if (row <= build->rows->last_id[table]) {
        return bad(&in, "id", " is not a number above 0 and above those before it", NULL, 0);
    }
    build->rows->last_id[table] = row;
    enum status status = take[table](&in);
    build->rows->count += status == STATUS_OK;
    return status;
}
