/* All rules of one moment, immutable: what the judgement may ask of them. */
/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SEKISHO_POLICY_H
#define SEKISHO_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/address.h"
#include "core/facts.h"
#include "core/range.h"
#include "core/setting.h"
#include "core/verdict.h"

/* Owns everything it was built from. Read by any number of threads at once. */
struct policy;

void policy_free(struct policy *policy);

/* Wall time in Unix milliseconds when the first of its rows goes out of force; INT64_MAX = never.
 */
int64_t policy_next_expiry(const struct policy *policy);
/* The wall time it was sealed for. */
int64_t policy_sealed_at(const struct policy *policy);
/* Rows of all tables together. */
size_t policy_row_count(const struct policy *policy);
/* Bytes held. */
size_t policy_size(const struct policy *policy);

/* -- settings ------------------------------------------------------------------------------- */
/* The value in force: the row's, or the default when there is no row. */
int64_t policy_number(const struct policy *policy, enum setting setting);
const char *policy_text(const struct policy *policy, enum setting setting);
/* The mode of a check as it works: address and relay always enforced, the others at most observed
 * under the global observe mode. rule (may be NULL) is the row that says so. */
enum check_mode policy_check_mode(const struct policy *policy, enum check check, struct rule *rule);

/* -- names ---------------------------------------------------------------------------------- */
enum domain_kind {
    DOMAIN_FOREIGN,
    DOMAIN_OURS,  /* local, and no stranger may use it as sender */
    DOMAIN_ANYONE /* local, we only receive for it */
};

/* What an address's domain is to us: a local_domain row (the nearest for subdomains), an own_name
 * row, the MTA's own name (facts->host), our own address in a literal, or "" (a bare local part).
 * rule says which row. */
enum domain_kind policy_domain(const struct policy *policy, const struct facts *facts,
                               const struct address *address, struct rule *rule);

/* Is this HELO text a name of ours: own_name, facts->host, a local_domain with mail_from ours, or
 * our own address, bare or as a literal? */
bool policy_helo_is_ours(const struct policy *policy, const struct facts *facts, struct rule *rule);

/* Is the address receive-only, its BATV tag taken off? A row without @ speaks for every local
 * domain. */
bool policy_receive_only(const struct policy *policy, const struct facts *facts,
                         const struct address *address, struct rule *rule);
/* Is the address a spam trap? A row without @ speaks for every local domain. */
bool policy_spam_trap(const struct policy *policy, const struct facts *facts,
                      const struct address *address, struct rule *rule);

/* -- addresses ------------------------------------------------------------------------------ */
/* May this address relay without a login? */
bool policy_client_host(const struct policy *policy, const struct ip *client, struct rule *rule);

/* The narrowest row that holds the client (1.3): client_host rows and the administrator's own
 * ip_range rows first, imported ones only if none of those. login: strangers rows do not exist. */
enum listing policy_listed(const struct policy *policy, const struct ip *client, bool login,
                           struct rule *rule);

/* Does an exemption spare this client that check? */
bool policy_exempt(const struct policy *policy, enum check check, const struct ip *client,
                   const struct address *sender, struct rule *rule);

/* -- identities ----------------------------------------------------------------------------- */
struct identity {
    bool known; /* a row speaks for the login, by its name or by * */
    bool may_send;
    enum senders senders;
    struct rule rule; /* the identity row */
};

/* The row that speaks for a login: as given, without its realm, then "*". */
struct identity policy_identity(const struct policy *policy, const struct text *login);

/* Is the login a receive-only address's name? */
bool policy_login_receive_only(const struct policy *policy, const struct text *login,
                               struct rule *rule);

/* May it come from here? No identity_host row = anywhere; only expired ones = nowhere. rule is the
 * row that allowed, or one of those that did not. */
bool policy_identity_host(const struct policy *policy, const struct text *login,
                          const struct identity *identity, bool client_known,
                          const struct ip *client, struct rule *rule);

/* Is this sender one of the login's? rule is the row that said so: identity for its own address,
 * identity_sender otherwise; the identity row when the answer is no. */
bool policy_identity_sender(const struct policy *policy, const struct text *login,
                            const struct identity *identity, const struct address *sender,
                            struct rule *rule);

/* -- retelling ------------------------------------------------------------------------------ */
enum { RULE_TEXT = 400 };
/* A row as a person reads it: `ip_range 17 (220.86.126.1-220.86.126.255 reject)`; "built in" for
 * TABLE_NONE. Printable ASCII. Returns to. */
char *policy_rule_text(const struct policy *policy, struct rule rule, char to[RULE_TEXT]);

/* The accounts that the policy itself names, for the battery of proof.h: identities (at
 * login_domain where they have no @), the senders of identity_sender, receive_only addresses.
 * Writes the n-th as an address; false after the last. */
bool policy_account(const struct policy *policy, size_t n, char to[ADDRESS_PATH_MOST + 1]);

/* The n-th local domain, or NULL after the last. */
const char *policy_local_domain(const struct policy *policy, size_t n, struct rule *rule);
/* The n-th own name, or NULL after the last. */
const char *policy_own_name(const struct policy *policy, size_t n, struct rule *rule);
/* The range of the n-th client_host row, in force or not; NULL after the last. */
const struct range *policy_client_host_range(const struct policy *policy, size_t n,
                                             struct rule *rule);

#endif
