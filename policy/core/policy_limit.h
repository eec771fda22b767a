/* Whom a recipient counts for, and which limits speak for them. */
/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SEKISHO_POLICY_LIMIT_H
#define SEKISHO_POLICY_LIMIT_H

#include "core/policy.h"
#include "core/usage.h"

enum { SUBJECT_TEXT = 352 }; /* room for a subject's text, with NUL */

/* Whom one recipient counts for. A client counts by the networks of client_prefix_ipv4 and _ipv6,
 * and only where nobody is logged in: one infected machine behind an office's address does not stop
 * the staff there; the clients of login windows count apart, by limits of their own. Senders count
 * for logins, client hosts and windows only: a stranger cannot use up somebody else's. What comes
 * from the MTA's own command line counts for nobody. */
struct subjects {
    enum sender_kind kind;
    bool counted[SUBJECT_COUNT];
    struct ip client;                         /* the first address of its network */
    unsigned prefix;                          /* of the network, in bits of its family */
    char login[ADDRESS_PATH_MOST + 1];        /* as it is compared, without realm or login_domain,
                                                 and shortened where its text would be cut */
    char sender[ADDRESS_FORM_ROOM];           /* as it is compared, without BATV and tag */
    const char *sender_local, *sender_domain; /* as they were written: borrowed */
    struct text as_login;                     /* borrowed, */
    char written[ADDRESS_PATH_MOST + 1];      /* or this, of subject_parse: do not copy it then */
};

/* Fills it for a recipient of this kind of sender; sender is the parsed envelope sender. */
void policy_subjects(const struct policy *policy, const struct facts *facts, enum sender_kind kind,
                     const struct address *sender, struct subjects *subjects);
/* The client's network alone, whoever sends. */
void policy_client_network(const struct policy *policy, const struct ip *client,
                           struct subjects *subjects);

/* How a subject is written: client:192.0.2.1, client:2001:db8::/64, identity:taro,
 * sender:taro@example.jp, everyone, login-window:192.0.2.1; printable, and a name that has no room
 * as printable_shorten has it. Returns to. */
char *subject_text(const struct subjects *subjects, enum subject subject, char to[SUBJECT_TEXT]);

/* A subject as an administrator writes it: client:IP, relay:IP or identity:NAME (identity:L is what
 * the log shows, a byte that it escapes as \xNN too). relay tells which of the first two. Fills
 * `subjects` with that one subject and writes the canonical text to `to`. policy NULL: the text is
 * canonical, as it was written down. STATUS_BAD: none of these; why says what to write. */
enum status subject_parse(const struct policy *policy, const char *text, struct subjects *subjects,
                          bool *relay, char to[SUBJECT_TEXT], struct why *why);

/* The limits that concern these subjects, one a rule at most: of the rows of a rule the most
 * specific `who` speaks, and one without `allowed` takes the rule away. Returns how many. */
size_t policy_limits(const struct policy *policy, const struct subjects *subjects,
                     struct limit limits[LIMITS_MOST]);

/* Of those the ones that a recipient is asked or charged for, into usage->limit, with `asked`: of
 * its direction (local: in), and at the permit door those on refusals only. charged: by direction,
 * whether its message has been charged already; NULL = it has not. */
void policy_limits_of(const struct policy *policy, const struct subjects *subjects, enum post post,
                      bool local, const bool charged[DIRECTION_COUNT], struct usage *usage);

/* Is what the login sends to others by a window of this client's limited: is there a row for it,
 * with the check rate enforced, and no exemption of the client from that? sender NULL: nobody's. */
bool policy_window_limited(const struct policy *policy, const struct ip *client,
                           const struct text *login, const struct address *sender);

/* Whose count it is: what is refused behind a login window is not held against the login, which
 * nobody has used there, but against the window. */
enum subject policy_counts_for(enum sender_kind kind, const struct limit *limit);

/* Which limit a group counts for: a row that has it, with this `allowed` if
 * there is one, and the rule's name (the policy's).
 * False: no row has it. */
bool policy_limit_named(const struct policy *policy, uint64_t group, uint64_t allowed,
                        struct limit *limit, const char **name);

/* The longest stretch of time that any row of rate_limit counts, in seconds; 0 = there is none. */
int64_t policy_limits_longest(const struct policy *policy);

/* block_for of a spam_trap row, in seconds; 0 if there is no such row. */
int64_t policy_trap_block(const struct policy *policy, struct rule trap);

#endif
