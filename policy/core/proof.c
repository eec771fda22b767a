/* The open-relay battery: forged sessions of strangers, judged in memory by a policy. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "core/proof.h"

#include <inttypes.h>
#include <libpsl.h>
#include <stdio.h>
#include <string.h>

#include "core/decide.h"

/* Names that nobody has: whoever passes mail to them passes mail to anybody. Several top-level
 * domains, since a local_domain row with subdomains may swallow one. */
static const char *const third_parties[] = {
    "sekisho-proof-5d1e.com",   "sekisho-proof-5d1e.net",   "sekisho-proof-5d1e.org",
    "sekisho-proof-5d1e.jp",    "sekisho-proof-5d1e.co.jp", "sekisho-proof-5d1e.ne.jp",
    "sekisho-proof-5d1e.kr",    "sekisho-proof-5d1e.cn",    "sekisho-proof-5d1e.de",
    "sekisho-proof-5d1e.co.uk", "sekisho-proof-5d1e.io",    "sekisho-proof-5d1e.info",
};

/* Where strangers come from, apart from just outside each client_host range. */
static const char *const addresses[] = {
    "220.86.126.33", "198.51.100.25", "203.0.113.77", "8.8.8.8",       "1.1.1.1",
    "100.64.0.9",    "172.20.3.4",    "130.54.1.1",   "219.99.4.4",    "45.33.32.156",
    "2001:db8::77",  "2a02:2e0::1",   "2400:cb00::1", "2600:1f00::25",
};

/* %U a user, %E a third party, %D a local domain, %H our host name, %I our address. */
static const char *const recipients[] = {
    "<%U@%E>",          "%U@%E",       "<%U%%E@%D>",    "<%U%%E@%H>",          "<%U%%E@[%I]>",
    "<\"%U@%E\">",      "<\"%U%%E\">", "<%U@%E@%D>",    "<%U@%E@%H>",          "<\"%U@%E\"@%D>",
    "<\"%U@%E\"@[%I]>", "<@%D:%U@%E>", "<@%H:%U@%E>",   "<@[%I]:%U@%E>",       "<%E!%U>",
    "<%E!%U@%D>",       "<%E!%U@%H>",  "<%U%%E%%E@%D>", "<\"%U\\@%E\"@%D>",    "<@%U@%E>",
    "<%U@[%I]@%E>",     "<\"%U\"@%E>", "<%U@%E.>",      "<%U@[198.51.100.1]>", "<%U@[127.0.0.5]>",
};

enum {
    LOCAL_DOMAINS_TRIED = 64,
    ACCOUNTS_TRIED = 256,
    CLIENTS_TRIED = 64,
};

struct battery {
    const struct policy *policy;
    void (*each)(void *, const struct proof_case *);
    void *context;
    size_t cases;
    const char *host;
    struct why *why;
    enum status status;
};

/* One session, judged; the first that gets through becomes the sentence. */
static void try_one(struct battery *battery, struct proof_case *tried)
{
    static const struct usage usage;
    struct facts facts = {
        .post = POST_DOOR,
        .listener_known = true,
        .client_name = {"", 0},
        .host = {battery->host, strlen(battery->host)},
        .helo = {tried->helo, strlen(tried->helo)},
        .login = {"", 0},
        .sender = {tried->sender, strlen(tried->sender)},
        .recipient = {tried->recipient, strlen(tried->recipient)},
    };
    char rule[RULE_TEXT];

    ip_parse("192.0.2.1", &facts.listener);
    facts.client_known = ip_parse(tried->client, &facts.client);
    decide(battery->policy, &facts, &usage, &tried->verdict);
    tried->held = tried->verdict.action != ACTION_PASS;
    battery->cases++;
    if (!tried->held && battery->status == STATUS_OK) {
        battery->status =
            why_set(battery->why, STATUS_BAD,
                    "open relay: a stranger at %s could send to %s, opened by %s", tried->client,
                    tried->recipient, policy_rule_text(battery->policy, tried->verdict.rule, rule));
    }
    if (battery->each != NULL) {
        battery->each(battery->context, tried);
    }
}

/* Fills a form of recipients[]. */
static void fill_form(const char *form, const char *third_party, const char *domain,
                      const char *host, char *to, size_t room)
{
    size_t used = 0;

    for (const char *at = form; *at != '\0' && used + 1 < room; at++) {
        const char *word = NULL;
        if (at[0] == '%') {
            word = at[1] == 'U'   ? "someone"
                   : at[1] == 'E' ? third_party
                   : at[1] == 'D' ? domain
                   : at[1] == 'H' ? host
                   : at[1] == 'I' ? "192.0.2.1"
                                  : NULL;
        }
        if (word != NULL) {
            int wrote = snprintf(to + used, room - used, "%s", word);
            used += wrote > 0 ? (size_t)wrote : 0;
            at++;
        } else {
            to[used++] = *at;
        }
    }
    to[used < room ? used : room - 1] = '\0';
}

/* Every form of recipient for one client, HELO, sender and local domain. */
static void try_forms(struct battery *battery, const char *client, const char *helo,
                      const char *sender, const char *domain, size_t turn)
{
    char recipient[640];

    for (size_t f = 0; f < sizeof recipients / sizeof recipients[0]; f++) {
        size_t third = (turn + f) % (sizeof third_parties / sizeof third_parties[0]);
        fill_form(recipients[f], third_parties[third], domain, battery->host, recipient,
                  sizeof recipient);
        struct proof_case tried = {.form = recipients[f],
                                   .client = client,
                                   .helo = helo,
                                   .sender = sender,
                                   .recipient = recipient};
        try_one(battery, &tried);
    }
}

/* The address before first or behind last; false at the ends of the space. */
static bool neighbour(const struct ip *ip, int step, struct ip *to)
{
    *to = *ip;
    for (int i = 15; i >= 0; i--) {
        unsigned char before = to->byte[i];
        to->byte[i] = (unsigned char)(before + step);
        if ((step > 0 && before != 255) || (step < 0 && before != 0)) {
            return ip_is_ipv4(to) == ip_is_ipv4(ip);
        }
    }
    return false;
}

/* Calls try_forms for strangers just outside the client_host ranges. */
static void try_neighbours(struct battery *battery, const char *sender, const char *domain)
{
    const struct range *range;
    char text[IP_TEXT];
    struct ip ip;

    for (size_t i = 0; i < CLIENTS_TRIED; i++) {
        range = policy_client_host_range(battery->policy, i, NULL);
        if (range == NULL) {
            return;
        }
        for (int side = -1; side <= 1; side += 2) {
            if (neighbour(side < 0 ? &range->first : &range->last, side, &ip) &&
                !policy_client_host(battery->policy, &ip, NULL)) {
                ip_text(&ip, text);
                try_forms(battery, text, "neighbour.invalid", sender, domain, i);
            }
        }
    }
}

/* com, co.jp, com.au: a local_domain row that calls all below it ours would open the relay to
 * everybody there. Whatever the list of public suffixes knows is tried. */
static void try_public_suffixes(struct battery *battery)
{
    const psl_ctx_t *list = psl_builtin();
    const char *domain;

    for (size_t i = 0; list != NULL; i++) {
        if ((domain = policy_local_domain(battery->policy, i, NULL)) == NULL) {
            return;
        }
        if (psl_is_public_suffix2(list, domain, PSL_TYPE_ICANN | PSL_TYPE_NO_STAR_RULE) != 0) {
            char recipient[ADDRESS_FORM_ROOM];
            snprintf(recipient, sizeof recipient, "<someone@sekisho-proof-5d1e.%s>", domain);
            struct proof_case tried = {.form = "<%U@%E>",
                                       .client = "unknown",
                                       .helo = "stranger.invalid",
                                       .sender = "<>",
                                       .recipient = recipient};
            try_one(battery, &tried);
        }
    }
}

enum status proof_run(const struct policy *policy,
                      void (*each)(void *context, const struct proof_case *), void *context,
                      size_t *cases, struct why *why)
{
    struct battery battery = {.policy = policy,
                              .each = each,
                              .context = context,
                              .why = why,
                              .host = "localhost",
                              .status = STATUS_OK};
    const char *own = policy_own_name(policy, 0, NULL);
    const char *clients[sizeof addresses / sizeof addresses[0] + 1];
    size_t client_count = 0, domain_count = 0, account_count = 0;
    char account[ADDRESS_PATH_MOST + 1], sender[ADDRESS_PATH_MOST + 3];
    struct ip ip;

    if (own != NULL) {
        battery.host = own;
    }
    for (size_t i = 0; i < sizeof addresses / sizeof addresses[0]; i++) {
        if (ip_parse(addresses[i], &ip) && !policy_client_host(policy, &ip, NULL)) {
            clients[client_count++] = addresses[i];
        }
    }
    clients[client_count++] = "unknown";
    while (policy_local_domain(policy, domain_count, NULL) != NULL) {
        domain_count++;
    }
    while (policy_account(policy, account_count, account)) {
        account_count++;
    }
    /* Every local domain (many: spread evenly), with strangers and forged hosts as senders. */
    size_t step = domain_count / LOCAL_DOMAINS_TRIED + 1;
    for (size_t i = 0; i == 0 || i < domain_count; i += step) {
        const char *domain = policy_local_domain(policy, i, NULL);
        domain = domain != NULL ? domain : battery.host;
        const char *client = clients[i % client_count];
        snprintf(sender, sizeof sender, "<someone@%s>", domain);
        try_forms(&battery, client, "stranger.invalid", "<>", domain, i);
        try_forms(&battery, client, domain, "<stranger@sekisho-proof-5d1e.com>", domain, i + 1);
        try_forms(&battery, client, battery.host, sender, domain, i + 2);
    }
    const char *domain = policy_local_domain(policy, 0, NULL);
    domain = domain != NULL ? domain : battery.host;
    /* Each third party, so that no top-level domain is missed, from each client. */
    for (size_t i = 0; i < client_count * (sizeof third_parties / sizeof third_parties[0]); i++) {
        char recipient[128];
        snprintf(recipient, sizeof recipient, "<someone@%s>", third_parties[i / client_count]);
        struct proof_case tried = {.form = "<%U@%E>",
                                   .client = clients[i % client_count],
                                   .helo = "[192.0.2.1]",
                                   .sender = "<root>",
                                   .recipient = recipient};
        try_one(&battery, &tried);
    }
    /* The policy's own accounts as forged senders, with its own name in HELO: 2004. */
    step = account_count / ACCOUNTS_TRIED + 1;
    for (size_t i = 0; i < account_count && policy_account(policy, i, account); i += step) {
        snprintf(sender, sizeof sender, "<%s>", account);
        try_forms(&battery, clients[i % client_count], battery.host, sender, domain, i);
    }
    try_public_suffixes(&battery);
    try_neighbours(&battery, "<someone@sekisho-proof-5d1e.com>", domain);
    if (cases != NULL) {
        *cases = battery.cases;
    }
    return battery.status;
}
