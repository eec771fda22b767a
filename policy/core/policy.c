/* What the judgement may ask of the rules of one moment. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "core/policy.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/policy_rows.h"

void policy_free(struct policy *policy)
{
    if (policy == NULL) {
        return;
    }
    for (size_t tier = 0; tier < 2; tier++) {
        rangemap_free(&policy->listed[tier]);
        rangemap_free(&policy->listed_login[tier]);
    }
    rangemap_free(&policy->client_host);
    for (size_t i = 0; i < policy->limit_rule_count; i++) {
        rangemap_free(&policy->limit_rules[i].ranges);
    }
    free(policy->limit_rules);
    free(policy->limit_rows);
    free(policy->entries);
    policy_rows_release(policy->rows);
    free(policy);
}

int64_t policy_next_expiry(const struct policy *policy)
{
    return policy->next_expiry;
}

int64_t policy_sealed_at(const struct policy *policy)
{
    return policy->sealed_at;
}

size_t policy_row_count(const struct policy *policy)
{
    return policy->rows->count;
}

size_t policy_size(const struct policy *policy)
{
    return policy->size;
}

/* The wall second the policy was sealed for: rows that had expired then are not in force. */
static int64_t seal_second(const struct policy *policy)
{
    return policy->sealed_at / 1000 - (policy->sealed_at % 1000 < 0);
}

static void rule_set(struct rule *rule, enum table table, int64_t row)
{
    if (rule != NULL) {
        *rule = (struct rule){table, row};
    }
}

int64_t policy_number(const struct policy *policy, enum setting setting)
{
    const struct setting_row *row = &policy->rows->setting[setting];
    return row->id != 0 ? row->number : setting_kind(setting)->number;
}

const char *policy_text(const struct policy *policy, enum setting setting)
{
    const struct setting_row *row = &policy->rows->setting[setting];
    return row->id != 0 ? rows_text(policy->rows, row->text) : setting_kind(setting)->text;
}

enum check_mode policy_check_mode(const struct policy *policy, enum check check, struct rule *rule)
{
    const struct mode_row *row = &policy->rows->mode[check];
    const struct setting_row *global = &policy->rows->setting[SETTING_MODE];

    rule_set(rule, row->id != 0 ? TABLE_CHECK_MODE : TABLE_NONE, row->id);
    if (check == CHECK_ADDRESS || check == CHECK_RELAY) {
        return MODE_ENFORCE;
    }
    if (row->mode == MODE_ENFORCE && global->id != 0 &&
        strcmp(rows_text(policy->rows, global->text), "observe") == 0) {
        rule_set(rule, TABLE_SETTING, global->id);
        return MODE_OBSERVE;
    }
    return row->mode;
}

/* -- names ---------------------------------------------------------------------------------- */

/* The local_domain row of the name itself. */
static const struct local_domain_row *find_local_domain(const struct policy *policy,
                                                        const char *domain)
{
    const struct local_domain_row *rows = policy->rows->local_domain.items;
    struct namemap_span span = namemap_find(&policy->local_domain, domain);

    return span.count > 0 ? &rows[span.entries->payload] : NULL;
}

/* The nearest local_domain row above the name that speaks for its subdomains. */
static const struct local_domain_row *find_parent_domain(const struct policy *policy,
                                                         const char *domain)
{
    for (const char *dot = strchr(domain, '.'); dot != NULL; dot = strchr(dot + 1, '.')) {
        const struct local_domain_row *row = find_local_domain(policy, dot + 1);
        if (row != NULL && row->subdomains) {
            return row;
        }
    }
    return NULL;
}

/* The address of this host that the client has reached. */
static bool is_listener(const struct facts *facts, const struct ip *ip)
{
    return facts->listener_known && ip_compare(&facts->listener, ip) == 0;
}

static bool is_host(const struct facts *facts, const char *domain)
{
    char host[ADDRESS_DOMAIN_ROOM];

    return facts->host.size > 0 && domain_fold(facts->host.bytes, facts->host.size, host) &&
           strcmp(host, domain) == 0;
}

/* A row for the very name speaks first, then our own names, then a row for a domain above it: a
 * host of ours below a customer's domain stays ours. */
static enum domain_kind domain_kind(const struct policy *policy, const struct facts *facts,
                                    const char *domain, bool literal, struct rule *rule)
{
    struct ip ip;

    rule_set(rule, TABLE_NONE, 0);
    if (domain[0] == '\0') {
        return DOMAIN_OURS; /* a bare name belongs to the MTA's own host name */
    }
    if (literal) {
        /* Not all of loopback: what is not an address of the MTA it would send on. */
        return ip_parse(domain, &ip) && is_listener(facts, &ip) ? DOMAIN_OURS : DOMAIN_FOREIGN;
    }
    const struct local_domain_row *row = find_local_domain(policy, domain);
    struct namemap_span own = namemap_find(&policy->own_name, domain);
    if (row == NULL && own.count > 0) {
        const struct name_row *names = policy->rows->own_name.items;
        rule_set(rule, TABLE_OWN_NAME, names[own.entries->payload].id);
        return DOMAIN_OURS;
    }
    if (row == NULL && is_host(facts, domain)) {
        return DOMAIN_OURS;
    }
    if (row == NULL) {
        row = find_parent_domain(policy, domain);
    }
    if (row == NULL) {
        return DOMAIN_FOREIGN;
    }
    rule_set(rule, TABLE_LOCAL_DOMAIN, row->id);
    return row->anyone ? DOMAIN_ANYONE : DOMAIN_OURS;
}

enum domain_kind policy_domain(const struct policy *policy, const struct facts *facts,
                               const struct address *address, struct rule *rule)
{
    return domain_kind(policy, facts, address->domain, address->literal, rule);
}

bool policy_helo_is_ours(const struct policy *policy, const struct facts *facts, struct rule *rule)
{
    char name[ADDRESS_DOMAIN_ROOM], text[ADDRESS_DOMAIN_ROOM];
    const char *from = facts->helo.bytes;
    size_t size = facts->helo.size;
    struct ip ip;

    rule_set(rule, TABLE_NONE, 0);
    /* Brackets and dots around a name or an address make it no less ours. */
    while (size > 0 && (from[0] == '[' || from[0] == ' ')) {
        from++;
        size--;
    }
    while (size > 0 && strchr("]. ", from[size - 1]) != NULL) {
        size--;
    }
    if (size == 0 || size >= sizeof text || memchr(from, '\0', size) != NULL) {
        return false;
    }
    memcpy(text, from, size);
    text[size] = '\0';
    if (ip_parse(text, &ip)) {
        return ip_is_loopback(&ip) || is_listener(facts, &ip);
    }
    return domain_fold(text, size, name) &&
           domain_kind(policy, facts, name, false, rule) == DOMAIN_OURS;
}

/* Is the address in a table whose rows are full addresses, or local parts for all local domains? */
static bool find_address(const struct policy *policy, const struct facts *facts,
                         const struct namemap *map, const struct address *address, const char *fold,
                         uint32_t *payload)
{
    char form[ADDRESS_FORM_ROOM], host[ADDRESS_DOMAIN_ROOM] = "";
    const char *domain = address->domain;
    struct namemap_span span = {NULL, 0};

    if (address->kind != ADDRESS_MAILBOX || map->count == 0) {
        return false;
    }
    if (domain[0] == '\0' && facts->host.size > 0 &&
        domain_fold(facts->host.bytes, facts->host.size, host)) {
        domain = host;
    }
    if (domain[0] != '\0') {
        size_t local_size = strlen(fold), domain_size = strlen(domain);
        memcpy(form, fold, local_size);
        form[local_size] = '@';
        memcpy(form + local_size + 1, domain, domain_size + 1);
        span = namemap_find(map, form);
    }
    /* A local part with an @ inside must not be read as a full address of the table. Few names are
     * in the table, so whose the domain is is asked last. */
    if (span.count == 0 && strchr(fold, '@') == NULL) {
        span = namemap_find(map, fold);
        if (span.count > 0 && policy_domain(policy, facts, address, NULL) == DOMAIN_FOREIGN) {
            span.count = 0;
        }
    }
    if (span.count > 0) {
        *payload = span.entries->payload;
    }
    return span.count > 0;
}

/* The same with the address as it stands, then without its BATV tag. */
static bool find_address_or_batv(const struct policy *policy, const struct facts *facts,
                                 const struct namemap *map, const struct address *address,
                                 uint32_t *payload)
{
    const char *bare = address_without_batv(address->fold);

    return find_address(policy, facts, map, address, address->fold, payload) ||
           (bare != address->fold && find_address(policy, facts, map, address, bare, payload));
}

bool policy_receive_only(const struct policy *policy, const struct facts *facts,
                         const struct address *address, struct rule *rule)
{
    const struct name_row *rows = policy->rows->receive_only.items;
    uint32_t payload = 0;
    bool found = find_address_or_batv(policy, facts, &policy->receive_only, address, &payload);

    rule_set(rule, found ? TABLE_RECEIVE_ONLY : TABLE_NONE, found ? rows[payload].id : 0);
    return found;
}

bool policy_spam_trap(const struct policy *policy, const struct facts *facts,
                      const struct address *address, struct rule *rule)
{
    const struct name_row *rows = policy->rows->spam_trap.items;
    uint32_t payload = 0;
    bool found = find_address(policy, facts, &policy->spam_trap, address, address->fold, &payload);

    rule_set(rule, found ? TABLE_SPAM_TRAP : TABLE_NONE, found ? rows[payload].id : 0);
    return found;
}

/* -- addresses ------------------------------------------------------------------------------ */

bool policy_client_host(const struct policy *policy, const struct ip *client, struct rule *rule)
{
    const struct range_row *rows = policy->rows->client_host.items;
    int64_t payload = rangemap_find(&policy->client_host, client);

    rule_set(rule, payload >= 0 ? TABLE_CLIENT_HOST : TABLE_NONE,
             payload >= 0 ? rows[payload].id : 0);
    return payload >= 0;
}

enum listing policy_listed(const struct policy *policy, const struct ip *client, bool login,
                           struct rule *rule)
{
    rule_set(rule, TABLE_NONE, 0);
    for (size_t tier = 0; tier < 2; tier++) {
        int64_t payload = rangemap_find(&policy->listed[tier], client);
        struct listing_view view;
        if (payload < 0) {
            continue;
        }
        view = policy_listing_view(policy->rows, (uint32_t)payload);
        if (login && !view.everyone) {
            /* A strangers row won; for a login the narrowest of the others speaks. */
            payload = rangemap_find(&policy->listed_login[tier], client);
            if (payload < 0) {
                continue;
            }
            view = policy_listing_view(policy->rows, (uint32_t)payload);
        }
        rule_set(rule, view.rule.table, view.rule.row);
        return view.listing;
    }
    return LISTING_NONE;
}

/* Is the sender user@domain or of @domain, as the pattern says? */
static bool sender_matches(const char *pattern, const char *fold, const char *domain)
{
    const char *at = strrchr(pattern, '@');
    size_t local = at != NULL ? (size_t)(at - pattern) : 0;

    return at != NULL && domain[0] != '\0' && strcmp(at + 1, domain) == 0 &&
           (local == 0 || (strlen(fold) == local && memcmp(fold, pattern, local) == 0));
}

bool policy_exempt(const struct policy *policy, enum check check, const struct ip *client,
                   const struct address *sender, struct rule *rule)
{
    const struct range_row *rows = policy->rows->exemption.items;
    int64_t now = seal_second(policy);

    rule_set(rule, TABLE_NONE, 0);
    for (size_t i = 0; i < policy->rows->exemption.count; i++) {
        const char *pattern = rows_text(policy->rows, rows[i].text);
        if (rows[i].check == check && range_holds(&rows[i].range, client) &&
            in_force(rows[i].expires, now) &&
            (pattern[0] == '\0' ||
             (sender->kind == ADDRESS_MAILBOX &&
              sender_matches(pattern, address_without_batv(sender->fold), sender->domain)))) {
            rule_set(rule, TABLE_EXEMPTION, rows[i].id);
            return true;
        }
    }
    return false;
}

/* -- identities ----------------------------------------------------------------------------- */

/* Does the text stand for this domain? */
static bool same_domain(const char *setting, const char *domain)
{
    char folded[ADDRESS_DOMAIN_ROOM];

    return setting[0] != '\0' && domain_fold(setting, strlen(setting), folded) &&
           strcmp(folded, domain) == 0;
}

void policy_login_forms(const struct policy *policy, const struct text *login,
                        struct login_forms *forms)
{
    const char *login_domain = policy_text(policy, SETTING_LOGIN_DOMAIN);
    char domain[ADDRESS_DOMAIN_ROOM];
    char *given = forms->form[0], *bare = forms->form[1], *full = forms->form[2];

    login_fold(login->bytes, login->size, given);
    bare[0] = full[0] = '\0';
    const char *at = strrchr(given, '@');
    if (at != NULL && at != given &&
        (same_domain(policy_text(policy, SETTING_LOGIN_REALM), at + 1) ||
         same_domain(login_domain, at + 1))) {
        size_t size = (size_t)(at - given);
        memcpy(bare, given, size);
        bare[size] = '\0';
    }
    const char *local = at == NULL ? given : bare;
    if (local[0] != '\0' && strchr(local, '@') == NULL && login_domain[0] != '\0' &&
        domain_fold(login_domain, strlen(login_domain), domain) &&
        strlen(local) + strlen(domain) < ADDRESS_PATH_MOST) {
        size_t size = strlen(local);
        memcpy(full, local, size);
        full[size] = '@';
        memcpy(full + size + 1, domain, strlen(domain) + 1);
    }
}

/* Finds the account behind a login, however it is dressed: blanks around it, a realm, a tag. */
static void bare_account(const struct policy *policy, const char *login, char *to)
{
    const char *delimiters = policy_text(policy, SETTING_RECIPIENT_DELIMITER);
    size_t size = 0;

    while (*login == ' ') {
        login++;
    }
    while (login[size] != '\0' && strchr("@%/\\ ", login[size]) == NULL &&
           (size == 0 || strchr(delimiters, login[size]) == NULL)) {
        size++;
    }
    memcpy(to, login, size);
    to[size] = '\0';
}

/* The row of this name that is in force, or NULL. */
static const struct identity_row *find_identity(const struct policy *policy, const char *name)
{
    const struct identity_row *rows = policy->rows->identity.items;
    struct namemap_span span = namemap_find(&policy->identity, name);

    for (size_t n = 0; n < span.count; n++) {
        const struct identity_row *row = &rows[span.entries[n].payload];
        if (in_force(row->expires, seal_second(policy))) {
            return row;
        }
    }
    return NULL;
}

struct identity policy_identity(const struct policy *policy, const struct text *login)
{
    const struct identity_row *row = NULL;
    char account[ADDRESS_PATH_MOST + 1];
    struct login_forms forms;

    policy_login_forms(policy, login, &forms);
    bare_account(policy, forms.form[0], account);
    for (size_t i = 0; i < LOGIN_FORMS && row == NULL; i++) {
        /* A client may well log in as "*": that must not find the row *. */
        if (strcmp(forms.form[i], "*") != 0) {
            row = find_identity(policy, forms.form[i]);
        }
    }
    /* A row that forbids is not lost by a tag or a blank. (Another realm is another login.) */
    if (row == NULL && strchr(forms.form[0], '@') == NULL && strcmp(account, "*") != 0) {
        row = find_identity(policy, account);
        row = row != NULL && !row->may_send ? row : NULL;
    }
    if (row == NULL) {
        row = find_identity(policy, "*");
    }
    if (row == NULL || login->size > ADDRESS_PATH_MOST) {
        return (struct identity){false, false, SENDERS_LISTED, {TABLE_NONE, 0}};
    }
    return (struct identity){true, row->may_send, row->senders, {TABLE_IDENTITY, row->id}};
}

bool policy_login_receive_only(const struct policy *policy, const struct text *login,
                               struct rule *rule)
{
    const struct name_row *rows = policy->rows->receive_only.items;
    const char *login_domain = policy_text(policy, SETTING_LOGIN_DOMAIN);
    char account[ADDRESS_PATH_MOST + 1], full[ADDRESS_FORM_ROOM] = "";
    char domain[ADDRESS_DOMAIN_ROOM];
    struct login_forms forms;
    struct namemap_span span = {NULL, 0};

    policy_login_forms(policy, login, &forms);
    rule_set(rule, TABLE_NONE, 0);
    /* A row without @ speaks for every login of that name: a realm that nobody told us of must not
     * turn postmaster into somebody else. */
    bare_account(policy, forms.form[0], account);
    if (domain_fold(login_domain, strlen(login_domain), domain)) {
        snprintf(full, sizeof full, "%s@%s", account, domain);
    }
    const char *names[] = {forms.form[0], forms.form[1], forms.form[2], account, full};
    for (size_t i = 0; i < sizeof names / sizeof names[0] && span.count == 0; i++) {
        if (names[i][0] != '\0') {
            span = namemap_find(&policy->receive_only, names[i]);
        }
    }
    if (span.count > 0) {
        rule_set(rule, TABLE_RECEIVE_ONLY, rows[span.entries->payload].id);
    }
    return span.count > 0;
}

/* The n-th name under which rows of identity_sender and identity_host speak for the login: its own
 * forms, and * where the identity row that speaks for it is that of *. "" = skip. */
static const char *row_name(const struct policy *policy, const struct login_forms *forms,
                            const struct identity *identity, int n)
{
    const struct identity_row *rows = policy->rows->identity.items;

    if (n < LOGIN_FORMS) {
        return strcmp(forms->form[n], "*") == 0 ? "" : forms->form[n];
    }
    struct namemap_span span = namemap_find(&policy->identity, "*");
    return identity->known && span.count > 0 && rows[span.entries->payload].id == identity->rule.row
               ? "*"
               : "";
}

bool policy_identity_host(const struct policy *policy, const struct text *login,
                          const struct identity *identity, bool client_known,
                          const struct ip *client, struct rule *rule)
{
    const struct range_row *rows = policy->rows->identity_host.items;
    struct login_forms forms;
    int64_t now = seal_second(policy);
    bool any = false;

    rule_set(rule, TABLE_NONE, 0);
    policy_login_forms(policy, login, &forms);
    for (int n = 0; n <= LOGIN_FORMS; n++) {
        struct namemap_span span =
            namemap_find(&policy->identity_host, row_name(policy, &forms, identity, n));
        /* The rows of the login itself replace those of *. */
        for (size_t i = 0; i < span.count && !(n == LOGIN_FORMS && any); i++) {
            const struct range_row *row = &rows[span.entries[i].payload];
            if (client_known && in_force(row->expires, now) && range_holds(&row->range, client)) {
                rule_set(rule, TABLE_IDENTITY_HOST, row->id);
                return true;
            }
        }
        if (span.count > 0 && !any) {
            rule_set(rule, TABLE_IDENTITY_HOST, rows[span.entries->payload].id);
            any = true;
        }
    }
    return !any;
}

/* Is the sender the login's own address, with or without a +tag? */
static bool own_sender(const struct policy *policy, const char *name, const char *fold,
                       const char *domain)
{
    const char *delimiters = policy_text(policy, SETTING_RECIPIENT_DELIMITER);
    const char *setting = policy_text(policy, SETTING_LOGIN_DOMAIN);
    char own_domain[ADDRESS_DOMAIN_ROOM] = "";
    const char *at = strrchr(name, '@');
    size_t size = at != NULL ? (size_t)(at - name) : strlen(name);

    if (size == 0 || domain[0] == '\0' ||
        !(at != NULL ? domain_fold(at + 1, strlen(at + 1), own_domain)
                     : domain_fold(setting, strlen(setting), own_domain)) ||
        strcmp(own_domain, domain) != 0 || strncmp(fold, name, size) != 0) {
        return false;
    }
    return fold[size] == '\0' || strchr(delimiters, fold[size]) != NULL;
}

bool policy_identity_sender(const struct policy *policy, const struct text *login,
                            const struct identity *identity, const struct address *sender,
                            struct rule *rule)
{
    const struct identity_sender_row *rows = policy->rows->identity_sender.items;
    const char *fold = address_without_batv(sender->fold);
    struct login_forms forms;
    int64_t now = seal_second(policy);

    rule_set(rule, identity->rule.table, identity->rule.row);
    if (identity->senders == SENDERS_ANY) {
        return true;
    }
    if (sender->kind != ADDRESS_MAILBOX) {
        return false;
    }
    policy_login_forms(policy, login, &forms);
    if (identity->senders == SENDERS_OWN &&
        (own_sender(policy, forms.form[0], fold, sender->domain) ||
         own_sender(policy, forms.form[1], fold, sender->domain))) {
        return true;
    }
    for (int n = 0; n <= LOGIN_FORMS; n++) {
        struct namemap_span span =
            namemap_find(&policy->identity_sender, row_name(policy, &forms, identity, n));
        for (size_t i = 0; i < span.count; i++) {
            const struct identity_sender_row *row = &rows[span.entries[i].payload];
            if (in_force(row->expires, now) &&
                sender_matches(rows_text(policy->rows, row->sender), fold, sender->domain)) {
                rule_set(rule, TABLE_IDENTITY_SENDER, row->id);
                return true;
            }
        }
    }
    return false;
}

/* -- retelling ------------------------------------------------------------------------------ */

/* The row of an id in a list whose rows hold it id_offset behind their beginning, or NULL. */
static const void *row_by_id(const struct list *list, size_t id_offset, int64_t id)
{
    size_t low = 0, high = list->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const char *item = (const char *)list->items + middle * list->size;
        int64_t at;
        memcpy(&at, item + id_offset, sizeof at);
        if (at == id) {
            return item;
        }
        if (at < id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return NULL;
}

/* "login-hour: identity * at most 200 recipients out in 3600 s, then tempfail" */
static void describe_limit(const struct policy_rows *rows, const struct limit_row *row, char *to,
                           size_t room)
{
    static const char *const directions[] = {" in", " out", ""};
    static const char *const then[] = {"tempfail", "reject", "block"};
    const struct limit *limit = &row->limit;
    char range[RANGE_TEXT], allowed[48] = "any number of";
    const char *who = limit->subject == SUBJECT_EVERYONE ? "" : rows_text(rows, row->who);

    if (row->has_range) {
        range_text(&row->range, range);
        who = range;
    }
    if (!row->unlimited) {
        snprintf(allowed, sizeof allowed, "at most %" PRIu64, limit->allowed);
    }
    snprintf(to, room, "%s: %s%s%s %s %s%s in %" PRIu32 " s, then %s", rows_text(rows, row->name),
             subject_name(limit->subject), who[0] != '\0' ? " " : "", who, allowed,
             counts_name(limit->counts), directions[limit->direction], limit->seconds,
             then[limit->then]);
}

/* The parts one behind the other, up to NULL; what does not fit is cut. Without printf, since a
 * record of each recipient has such a text. */
static void join(char *to, size_t room, const char *const parts[])
{
    size_t at = 0;

    for (; *parts != NULL; parts++) {
        size_t size = strnlen(*parts, room - 1 - at);
        memcpy(to + at, *parts, size);
        at += size;
    }
    to[at] = '\0';
}

/* What stands in the row, in words; "" for a row that is not there (any more). */
static void describe(const struct policy *policy, struct rule rule, char *to, size_t room)
{
    static const char *const listings[] = {"", "accept", "tempfail", "reject"};
    static const char *const senders[] = {"any", "own", "listed"};
    const struct policy_rows *rows = policy->rows;
    char range[RANGE_TEXT] = "";

    to[0] = '\0';
    switch (rule.table) {
    case TABLE_LOCAL_DOMAIN: {
        const struct local_domain_row *row =
            row_by_id(&rows->local_domain, offsetof(struct local_domain_row, id), rule.row);
        if (row != NULL) {
            join(to, room,
                 (const char *const[]){
                     rows_text(rows, row->domain), row->subdomains ? " and subdomains" : "",
                     row->anyone ? ", mail_from anyone" : ", mail_from ours", NULL});
        }
        break;
    }
    case TABLE_OWN_NAME:
    case TABLE_RECEIVE_ONLY:
    case TABLE_SPAM_TRAP: {
        const struct list *list = rule.table == TABLE_OWN_NAME       ? &rows->own_name
                                  : rule.table == TABLE_RECEIVE_ONLY ? &rows->receive_only
                                                                     : &rows->spam_trap;
        const struct name_row *row = row_by_id(list, offsetof(struct name_row, id), rule.row);
        if (row != NULL) {
            join(to, room, (const char *const[]){rows_text(rows, row->name), NULL});
        }
        break;
    }
    case TABLE_CLIENT_HOST:
    case TABLE_EXEMPTION:
    case TABLE_IDENTITY_HOST: {
        const struct list *list = rule.table == TABLE_CLIENT_HOST ? &rows->client_host
                                  : rule.table == TABLE_EXEMPTION ? &rows->exemption
                                                                  : &rows->identity_host;
        const struct range_row *row = row_by_id(list, offsetof(struct range_row, id), rule.row);
        if (row != NULL) {
            range_text(&row->range, range);
            const char *text = rows_text(rows, row->text);
            if (rule.table == TABLE_EXEMPTION) {
                snprintf(to, room, "%s, check %s, sender %s", range, check_name(row->check),
                         text[0] != '\0' ? text : "any");
            } else {
                snprintf(to, room, "%s%s%s", text, text[0] != '\0' ? " from " : "", range);
            }
        }
        break;
    }
    case TABLE_IP_RANGE: {
        const struct listing_row4 *four =
            row_by_id(&rows->listing4, offsetof(struct listing_row4, id), rule.row);
        const struct listing_row6 *six =
            row_by_id(&rows->listing6, offsetof(struct listing_row6, id), rule.row);
        if (four != NULL || six != NULL) {
            uint64_t word = four != NULL ? four->word : six->word;
            struct range held = four != NULL ? listing4_range(four) : six->range;
            range_text(&held, range);
            snprintf(to, room, "%s %s for %s%s", range, listings[WORD_LISTING(word)],
                     WORD_EVERYONE(word) ? "everyone" : "strangers",
                     WORD_IMPORTED(word) ? ", imported" : "");
        }
        break;
    }
    case TABLE_IDENTITY: {
        const struct identity_row *row =
            row_by_id(&rows->identity, offsetof(struct identity_row, id), rule.row);
        if (row != NULL) {
            join(to, room,
                 (const char *const[]){rows_text(rows, row->name),
                                       row->may_send ? ", may_send 1, senders "
                                                     : ", may_send 0, senders ",
                                       senders[row->senders], NULL});
        }
        break;
    }
    case TABLE_IDENTITY_SENDER: {
        const struct identity_sender_row *row =
            row_by_id(&rows->identity_sender, offsetof(struct identity_sender_row, id), rule.row);
        if (row != NULL) {
            snprintf(to, room, "%s as %s", rows_text(rows, row->identity),
                     rows_text(rows, row->sender));
        }
        break;
    }
    case TABLE_RATE_LIMIT: {
        const struct limit_row *row =
            row_by_id(&rows->rate_limit, offsetof(struct limit_row, id), rule.row);
        if (row != NULL) {
            describe_limit(rows, row, to, room);
        }
        break;
    }
    default:
        break;
    }
}

char *policy_rule_text(const struct policy *policy, struct rule rule, char to[RULE_TEXT])
{
    char words[1024], shown[RULE_TEXT - 64], row[24];
    char *digit = row + sizeof row - 1;
    uint64_t left = rule.row < 0 ? -(uint64_t)rule.row : (uint64_t)rule.row;

    if (rule.table == TABLE_NONE) {
        snprintf(to, RULE_TEXT, "built in");
        return to;
    }
    describe(policy, rule, words, sizeof words);
    printable_copy(shown, sizeof shown, words, strlen(words), 200);
    *digit = '\0';
    do {
        *--digit = (char)('0' + left % 10);
        left /= 10;
    } while (left != 0);
    bool empty = shown[0] == '\0';
    join(to, RULE_TEXT,
         (const char *const[]){table_name(rule.table), rule.row < 0 ? " -" : " ", digit,
                               empty ? "" : " (", shown, empty ? "" : ")", NULL});
    return to;
}

bool policy_account(const struct policy *policy, size_t n, char to[ADDRESS_PATH_MOST + 1])
{
    const struct policy_rows *rows = policy->rows;
    const struct identity_row *identities = rows->identity.items;
    const struct name_row *receivers = rows->receive_only.items;
    const struct identity_sender_row *senders = rows->identity_sender.items;
    const char *text = "", *domain = NULL;

    if (n < rows->identity.count) {
        text = rows_text(rows, identities[n].name);
        domain = policy_text(policy, SETTING_LOGIN_DOMAIN);
    } else if (n - rows->identity.count < rows->identity_sender.count) {
        text = rows_text(rows, senders[n - rows->identity.count].sender);
        domain = "";
    } else if (n - rows->identity.count - rows->identity_sender.count < rows->receive_only.count) {
        text =
            rows_text(rows, receivers[n - rows->identity.count - rows->identity_sender.count].name);
    } else {
        return false;
    }
    if (domain == NULL || domain[0] == '\0') {
        domain = policy_local_domain(policy, 0, NULL);
    }
    if (strcmp(text, "*") == 0) {
        text = "someone";
    }
    snprintf(to, ADDRESS_PATH_MOST + 1, "%s%.60s%s%.255s", text[0] == '@' ? "someone" : "", text,
             strchr(text, '@') != NULL || domain == NULL ? "" : "@",
             strchr(text, '@') != NULL || domain == NULL ? "" : domain);
    return true;
}

const char *policy_local_domain(const struct policy *policy, size_t n, struct rule *rule)
{
    const struct local_domain_row *rows = policy->rows->local_domain.items;

    if (n >= policy->rows->local_domain.count) {
        return NULL;
    }
    rule_set(rule, TABLE_LOCAL_DOMAIN, rows[n].id);
    return rows_text(policy->rows, rows[n].domain);
}

const char *policy_own_name(const struct policy *policy, size_t n, struct rule *rule)
{
    const struct name_row *rows = policy->rows->own_name.items;

    if (n >= policy->rows->own_name.count) {
        return NULL;
    }
    rule_set(rule, TABLE_OWN_NAME, rows[n].id);
    return rows_text(policy->rows, rows[n].name);
}

const struct range *policy_client_host_range(const struct policy *policy, size_t n,
                                             struct rule *rule)
{
    const struct range_row *rows = policy->rows->client_host.items;

    if (n >= policy->rows->client_host.count) {
        return NULL;
    }
    rule_set(rule, TABLE_CLIENT_HOST, rows[n].id);
    return &rows[n].range;
}
