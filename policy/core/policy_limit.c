/* Whom a recipient counts for, and which limits speak for them. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "core/policy_limit.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/policy_rows.h"

enum { NAME_ROOM = SUBJECT_TEXT - 16 }; /* of that for a name, with NUL */

/* -- whom ----------------------------------------------------------------------------------- */

static void set_network(const struct ip *client, unsigned prefix, struct subjects *subjects)
{
    unsigned bits = prefix + (ip_is_ipv4(client) ? 96 : 0);

    subjects->client = *client;
    subjects->prefix = prefix;
    for (unsigned i = 0; i < 16; i++) {
        if (bits <= i * 8) {
            subjects->client.byte[i] = 0;
        } else if (bits < i * 8 + 8) {
            subjects->client.byte[i] &= (unsigned char)(0xff00u >> (bits - i * 8));
        }
    }
}

void policy_client_network(const struct policy *policy, const struct ip *client,
                           struct subjects *subjects)
{
    enum setting setting =
        ip_is_ipv4(client) ? SETTING_CLIENT_PREFIX_IPV4 : SETTING_CLIENT_PREFIX_IPV6;

    set_network(client, (unsigned)policy_number(policy, setting), subjects);
}

/* The network as its text says, without a policy: 192.0.2.1, 2001:db8::/64. */
static void network_as_written(const struct ip *client, const char *slash,
                               struct subjects *subjects)
{
    unsigned most = ip_is_ipv4(client) ? 32 : 128, prefix = 0;

    while (*slash == '/' || (*slash >= '0' && *slash <= '9' && prefix <= most)) {
        prefix = *slash == '/' ? 0 : prefix * 10 + (unsigned)(*slash - '0');
        slash++;
    }
    set_network(client, prefix > 0 && prefix <= most ? prefix : most, subjects);
}

/* A login whose text has no room counts under its beginning and a hash of all of it, as it is
 * written then: a block is kept by its text, and whose it is must be read back from there. */
static void fit_login(char login[ADDRESS_PATH_MOST + 1])
{
    char text[4 * ADDRESS_PATH_MOST + 1];
    size_t size = strlen(login);

    if (4 * size >= NAME_ROOM &&
        printable_copy(text, sizeof text, login, size, size) >= NAME_ROOM) {
        printable_shorten(text, ADDRESS_PATH_MOST + 1, text);
        printable_read(login, ADDRESS_PATH_MOST + 1, text);
    }
}

/* The name that a login counts under: the shortest of its forms. */
static void login_key(const struct policy *policy, const struct text *login,
                      char to[ADDRESS_PATH_MOST + 1])
{
    struct login_forms forms;

    policy_login_forms(policy, login, &forms);
    const char *form = forms.form[1][0] != '\0' ? forms.form[1] : forms.form[0];
    memcpy(to, form, strlen(form) + 1);
    fit_login(to);
}

/* taro+list@example.jp counts as taro@example.jp. */
static void sender_key(const struct policy *policy, const struct address *sender,
                       char to[ADDRESS_FORM_ROOM])
{
    const char *delimiter = policy_text(policy, SETTING_RECIPIENT_DELIMITER);
    const char *fold = address_without_batv(sender->fold);
    const char *tag =
        delimiter[0] != '\0' && fold[0] != '\0' ? strchr(fold + 1, delimiter[0]) : NULL;
    size_t local = tag != NULL ? (size_t)(tag - fold) : strlen(fold),
           domain = strlen(sender->domain);

    memcpy(to, fold, local);
    to[local] = '@';
    memcpy(to + local + 1, sender->domain, domain + 1);
}

void policy_subjects(const struct policy *policy, const struct facts *facts, enum sender_kind kind,
                     const struct address *sender, struct subjects *subjects)
{
    bool trusted = kind == KIND_LOGIN || kind == KIND_CLIENT_HOST || kind == KIND_WINDOW;

    subjects->kind = kind;
    subjects->as_login = facts->login;
    subjects->login[0] = subjects->sender[0] = '\0';
    subjects->sender_local = subjects->sender_domain = "";
    memset(subjects->counted, 0, sizeof subjects->counted);
    if (kind == KIND_SUBMISSION) {
        return;
    }
    subjects->counted[SUBJECT_EVERYONE] = true;
    if (facts->client_known) {
        policy_client_network(policy, &facts->client, subjects);
        subjects->counted[SUBJECT_CLIENT] = kind == KIND_STRANGER || kind == KIND_CLIENT_HOST;
        subjects->counted[SUBJECT_WINDOW] = kind == KIND_WINDOW;
    }
    if (kind == KIND_LOGIN || kind == KIND_WINDOW) {
        login_key(policy, &facts->login, subjects->login);
        subjects->counted[SUBJECT_IDENTITY] = true;
    }
    if (trusted && sender->kind == ADDRESS_MAILBOX) {
        sender_key(policy, sender, subjects->sender);
        subjects->sender_local = address_without_batv(sender->fold);
        subjects->sender_domain = sender->domain;
        subjects->counted[SUBJECT_SENDER] = true;
    }
}

/* Writes a name into to[NAME_ROOM]. */
static void name_text(const char *name, char *to)
{
    char text[4 * ADDRESS_FORM_ROOM];
    size_t size = strlen(name);

    if (4 * size < NAME_ROOM) {
        printable_copy(to, NAME_ROOM, name, size, size);
    } else {
        printable_copy(text, sizeof text, name, size, size);
        printable_shorten(to, NAME_ROOM, text);
    }
}

char *subject_text(const struct subjects *subjects, enum subject subject, char to[SUBJECT_TEXT])
{
    const char *name = subject == SUBJECT_IDENTITY ? subjects->login : subjects->sender;
    const char *kind = subject_name(subject);
    size_t at =
        strlen(kind) + 1; /* without printf: each recipient that is counted has such texts */

    switch (subject) {
    case SUBJECT_CLIENT:
    case SUBJECT_WINDOW:
        memcpy(to, kind, at - 1);
        to[at - 1] = ':';
        ip_text(&subjects->client, to + at);
        if (subjects->prefix != (ip_is_ipv4(&subjects->client) ? 32u : 128u)) {
            at += strlen(to + at);
            snprintf(to + at, SUBJECT_TEXT - at, "/%u", subjects->prefix);
        }
        break;
    case SUBJECT_IDENTITY:
    case SUBJECT_SENDER:
        memcpy(to, kind, at - 1);
        to[at - 1] = ':';
        name_text(name, to + at);
        break;
    default:
        snprintf(to, SUBJECT_TEXT, "everyone");
        break;
    }
    return to;
}

enum status subject_parse(const struct policy *policy, const char *text, struct subjects *subjects,
                          bool *relay, char to[SUBJECT_TEXT], struct why *why)
{
    const char *colon = strchr(text, ':');
    size_t kind = colon != NULL ? (size_t)(colon - text) : 0;
    struct ip ip;

    memset(subjects, 0, sizeof *subjects);
    subjects->sender_local = subjects->sender_domain = "";
    *relay = kind == 5 && memcmp(text, "relay", 5) == 0;
    to[0] = '\0';
    if (kind == 8 && memcmp(text, "identity", 8) == 0 && colon[1] != '\0' &&
        printable_read(subjects->written, sizeof subjects->written, colon + 1) <=
            ADDRESS_PATH_MOST) {
        subjects->kind = KIND_LOGIN;
        subjects->as_login = (struct text){subjects->written, strlen(subjects->written)};
        if (policy != NULL) {
            login_key(policy, &subjects->as_login, subjects->login);
        } else {
            login_fold(subjects->written, strlen(subjects->written), subjects->login);
        }
        subjects->counted[SUBJECT_IDENTITY] = true;
        subject_text(subjects, SUBJECT_IDENTITY, to);
        return STATUS_OK;
    }
    if (*relay || (kind == 6 && memcmp(text, "client", 6) == 0)) {
        /* as it is shown: 2001:db8::/64 is the network that 2001:db8::1 counts in */
        char address[IP_TEXT + 8];
        size_t size = strcspn(colon + 1, "/");
        struct range range;
        struct why inner;
        if (size < sizeof address) {
            memcpy(address, colon + 1, size);
            address[size] = '\0';
            if (ip_parse(address, &ip)) {
                if (policy != NULL) {
                    policy_client_network(policy, &ip, subjects);
                } else {
                    network_as_written(&ip, colon + 1 + size, subjects);
                }
                subjects->kind = KIND_STRANGER;
                subjects->counted[SUBJECT_CLIENT] = true;
                subject_text(subjects, SUBJECT_CLIENT, to);
                if (*relay) {
                    memmove(to, "relay", 5);
                    memmove(to + 5, to + 6, strlen(to + 6) + 1);
                }
                if (colon[1 + size] == '\0' || strcmp(strchr(to, ':') + 1, colon + 1) == 0) {
                    return STATUS_OK;
                }
            }
        }
        if (range_parse(colon + 1, strlen(colon + 1), &range, &inner) == STATUS_OK) {
            return why_set(why, STATUS_BAD,
                           "%.100s: a block is for one client; a range goes into ip_range", text);
        }
        return why_set(why, STATUS_BAD, "%.100s: not an IP address behind %.6s:", text, text);
    }
    return why_set(why, STATUS_BAD, "%.100s: write client:IP, relay:IP or identity:NAME", text);
}

/* -- limits --------------------------------------------------------------------------------- */

/* The row of a rule with that very who, or NULL. */
static const struct limit_row *row_of(const struct policy *policy, const struct limit_rule *rule,
                                      const char *who)
{
    size_t low = rule->first, high = rule->first + rule->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int difference = strcmp(rows_text(policy->rows, policy->limit_rows[middle].who), who);
        if (difference == 0) {
            return &policy->limit_rows[middle];
        }
        if (difference < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return NULL;
}

/* The first of several whos that has a row; "" is none. */
static const struct limit_row *first_row_of(const struct policy *policy,
                                            const struct limit_rule *rule, const char *const *whos,
                                            size_t count)
{
    const struct limit_row *row = NULL;

    for (size_t i = 0; i < count && row == NULL; i++) {
        row =
            whos[i][0] != '\0' && strcmp(whos[i], "*") != 0 ? row_of(policy, rule, whos[i]) : NULL;
    }
    return row;
}

/* The names by which rows may speak of a subject, the most specific first. */
struct names {
    struct login_forms forms;
    char login_domain[ADDRESS_PATH_MOST + 2], sender[ADDRESS_FORM_ROOM];
    char sender_domain[ADDRESS_DOMAIN_ROOM + 1];
};

static void find_names(const struct policy *policy, const struct subjects *subjects,
                       struct names *names)
{
    names->login_domain[0] = names->sender[0] = names->sender_domain[0] = '\0';
    if (subjects->counted[SUBJECT_IDENTITY]) {
        policy_login_forms(policy, &subjects->as_login, &names->forms);
        const char *full =
            names->forms.form[2][0] != '\0' ? names->forms.form[2] : names->forms.form[0];
        const char *at = strrchr(full, '@');
        if (at != NULL) {
            memcpy(names->login_domain, at, strlen(at) + 1);
        }
    }
    if (subjects->counted[SUBJECT_SENDER]) {
        size_t local = strlen(subjects->sender_local), domain = strlen(subjects->sender_domain);
        memcpy(names->sender, subjects->sender_local, local);
        names->sender[local] = '@';
        memcpy(names->sender + local + 1, subjects->sender_domain, domain + 1);
        memcpy(names->sender_domain, names->sender + local, domain + 2);
    }
}

static const struct limit_row *speaking_row(const struct policy *policy,
                                            const struct limit_rule *rule,
                                            const struct subjects *subjects,
                                            const struct names *names)
{
    const struct limit_row *row = NULL;

    if (rule->subject == SUBJECT_CLIENT || rule->subject == SUBJECT_WINDOW) {
        int64_t at = rangemap_find(&rule->ranges, &subjects->client);
        row = at >= 0 ? &policy->limit_rows[at] : NULL;
    } else if (rule->subject == SUBJECT_IDENTITY) {
        const char *whos[] = {names->forms.form[0], names->forms.form[1], names->forms.form[2],
                              names->login_domain};
        row = first_row_of(policy, rule, whos, sizeof whos / sizeof whos[0]);
    } else if (rule->subject == SUBJECT_SENDER) {
        const char *whos[] = {names->sender, subjects->sender, names->sender_domain};
        row = first_row_of(policy, rule, whos, sizeof whos / sizeof whos[0]);
    }
    return row != NULL ? row : row_of(policy, rule, "*");
}

size_t policy_limits(const struct policy *policy, const struct subjects *subjects,
                     struct limit limits[LIMITS_MOST])
{
    struct names names;
    size_t count = 0;

    if (policy->limit_rule_count == 0) {
        return 0;
    }
    find_names(policy, subjects, &names);
    for (size_t i = 0; i < policy->limit_rule_count; i++) {
        const struct limit_rule *rule = &policy->limit_rules[i];
        const struct limit_row *row =
            subjects->counted[rule->subject] ? speaking_row(policy, rule, subjects, &names) : NULL;
        if (row != NULL && !row->unlimited) {
            limits[count++] = row->limit;
        }
    }
    return count;
}

bool policy_window_limited(const struct policy *policy, const struct ip *client,
                           const struct text *login, const struct address *sender)
{
    struct facts facts;
    struct limit limits[LIMITS_MOST];
    struct subjects subjects;
    struct address nobody;
    bool limited = false;

    memset(&facts, 0, sizeof facts);
    facts.client_known = facts.window = true;
    facts.client = *client;
    facts.login = *login;
    if (sender == NULL) {
        address_parse("", 0, &nobody);
        sender = &nobody;
    }
    if (policy_check_mode(policy, CHECK_RATE, NULL) != MODE_ENFORCE ||
        policy_exempt(policy, CHECK_RATE, client, sender, NULL)) {
        return false;
    }
    policy_subjects(policy, &facts, KIND_WINDOW, sender, &subjects);
    size_t count = policy_limits(policy, &subjects, limits);
    for (size_t i = 0; i < count; i++) {
        limited =
            limited || (limits[i].subject == SUBJECT_WINDOW && limits[i].direction != DIRECTION_IN);
    }
    return limited;
}

void policy_limits_of(const struct policy *policy, const struct subjects *subjects, enum post post,
                      bool local, const bool charged[DIRECTION_COUNT], struct usage *usage)
{
    struct limit limits[LIMITS_MOST];
    size_t count = policy_limits(policy, subjects, limits);

    usage->limits = 0;
    for (size_t i = 0; i < count; i++) {
        const struct limit *limit = &limits[i];
        bool refusals = limit->counts == COUNTS_REFUSALS;
        bool same =
            limit->direction == DIRECTION_ANY || (limit->direction == DIRECTION_IN) == local;
        if (!same || (post == POST_DOOR && !refusals)) {
            continue;
        }
        struct limit_use *use = &usage->limit[usage->limits++];
        *use = (struct limit_use){.limit = *limit};
        use->asked = !refusals && !(limit->counts == COUNTS_MESSAGES && charged != NULL &&
                                    charged[limit->direction]);
    }
}

enum subject policy_counts_for(enum sender_kind kind, const struct limit *limit)
{
    return kind == KIND_WINDOW && limit->subject == SUBJECT_IDENTITY &&
                   limit->counts == COUNTS_REFUSALS
               ? SUBJECT_WINDOW
               : limit->subject;
}

bool policy_limit_named(const struct policy *policy, uint64_t group, uint64_t allowed,
                        struct limit *limit, const char **name)
{
    bool found = false;

    for (size_t i = 0; i < policy->rows->rate_limit.count; i++) {
        const struct limit_row *row = &policy->limit_rows[i];
        if (row->limit.group == group && (!found || row->limit.allowed == allowed)) {
            *limit = row->limit;
            *name = rows_text(policy->rows, row->name);
            found = true;
        }
    }
    return found;
}

int64_t policy_limits_longest(const struct policy *policy)
{
    int64_t longest = 0;

    for (size_t i = 0; i < policy->rows->rate_limit.count; i++) {
        int64_t seconds = policy->limit_rows[i].limit.seconds;
        longest = seconds > longest ? seconds : longest;
    }
    return longest;
}

int64_t policy_trap_block(const struct policy *policy, struct rule trap)
{
    const struct name_row *rows = policy->rows->spam_trap.items;

    for (size_t i = 0; trap.table == TABLE_SPAM_TRAP && i < policy->rows->spam_trap.count; i++) {
        if (rows[i].id == trap.row) {
            return rows[i].block_for;
        }
    }
    return 0;
}
