/* How a policy keeps its rows and its maps: known to policy*.c only. */
/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SEKISHO_POLICY_ROWS_H
#define SEKISHO_POLICY_ROWS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/address.h"
#include "core/facts.h"
#include "core/namemap.h"
#include "core/rangemap.h"
#include "core/setting.h"
#include "core/usage.h"
#include "core/verdict.h"

/* Wall times are Unix seconds here; a row without expires has EXPIRES_NEVER. Texts live in one
 * block and are named by their offset; offset 0 is "". Rows of one table stand in ascending order
 * of id, so a row is found by its number in O(log n). */
#define EXPIRES_NEVER ((int64_t)(INT64_C(1) << 40) - 1)

/* A growing array of equal items. */
struct list {
    void *items;
    size_t count, room, size;
};

struct local_domain_row {
    int64_t id;
    uint32_t domain;
    bool subdomains, anyone;
};

/* own_name, receive_only, spam_trap. */
struct name_row {
    int64_t id;
    uint32_t name;
    uint32_t block_for; /* spam_trap: seconds */
};

/* rate_limit; who is "*", a login or an address as it is compared, or "" with a range. */
struct limit_row {
    int64_t id;
    struct range range;
    uint32_t name, who;
    bool unlimited, has_range;
    struct limit limit; /* group is made when the policy is sealed */
};

/* client_host, exemption, identity_host. */
struct range_row {
    struct range range;
    int64_t id, expires;
    uint32_t text;    /* exemption: sender pattern, 0 = any; identity_host: identity */
    enum check check; /* exemption */
};

/* ip_range, which may have a million rows: expires, verdict and audience share one word. */
struct listing_row4 {
    uint32_t first, last; /* host order */
    int64_t id;
    uint64_t word;
};

struct listing_row6 {
    struct range range;
    int64_t id;
    uint64_t word;
};

/* The word: expires in the upper 41 bits, then imported, everyone, verdict (enum listing). */
#define WORD(expires, imported, everyone, listing)                                                 \
    ((uint64_t)(expires) << 4 | (uint64_t)(imported) << 3 | (uint64_t)(everyone) << 2 |            \
     (uint64_t)(listing))
#define WORD_EXPIRES(word) ((int64_t)((word) >> 4))
#define WORD_IMPORTED(word) (((word) >> 3 & 1) != 0)
#define WORD_EVERYONE(word) (((word) >> 2 & 1) != 0)
#define WORD_LISTING(word) ((enum listing)((word)&3))

struct identity_row {
    int64_t id, expires;
    uint32_t name;
    bool may_send;
    enum senders senders;
};

struct identity_sender_row {
    int64_t id, expires;
    uint32_t identity, sender;
};

struct setting_row {
    int64_t id; /* 0: no row, the default holds */
    int64_t number;
    uint32_t text;
};

struct mode_row {
    int64_t id;
    enum check_mode mode;
};

/* All rows of one reading, shared by every policy sealed from them. */
struct policy_rows {
    atomic_uint references;
    bool sealed; /* no row may be added any more */
    struct list texts;
    struct list local_domain, own_name, client_host, exemption, identity, identity_sender,
        identity_host, receive_only, spam_trap, rate_limit;
    struct list listing4, listing6;
    size_t count;
    int64_t last_id[TABLE_COUNT];
    struct mode_row mode[CHECK_COUNT];
    struct setting_row setting[SETTING_COUNT];
};

/* One rule of limits: rows that share name and subject. */
struct limit_rule {
    enum subject subject;
    uint32_t first, count;  /* its rows in policy.limit_rows, sorted by who */
    struct rangemap ranges; /* of clients: payload as an index into limit_rows */
};

/* The maps of one moment over the rows. Payloads of the listing maps: an index into listing4, then
 * (from listing4.count on) into listing6, then into client_host. */
struct policy {
    struct policy_rows *rows;
    int64_t sealed_at, next_expiry; /* Unix milliseconds */
    size_t size;
    struct rangemap client_host;
    struct rangemap listed[2];       /* own rows with client_host; imported rows */
    struct rangemap listed_login[2]; /* the same of everyone rows, where strangers rows exist too */
    bool has_strangers[2];
    struct namemap local_domain, own_name, identity, identity_sender, identity_host, receive_only,
        spam_trap;
    struct namemap_entry *entries; /* of all name maps */
    struct limit_row *limit_rows;
    struct limit_rule *limit_rules;
    size_t limit_rule_count;
};

/* No rows yet, one reference; NULL when memory runs out. */
struct policy_rows *policy_rows_new(void);
void policy_rows_hold(struct policy_rows *rows);
/* Gives one reference back; the last frees. NULL is allowed. */
void policy_rows_release(struct policy_rows *rows);
/* No row will be added any more: gives spare room back. */
void policy_rows_seal(struct policy_rows *rows);
/* Bytes held. */
size_t policy_rows_size(struct policy_rows *rows);

/* A zeroed item at the end of the list; NULL when memory runs out. */
void *list_add(struct list *list);
/* Keeps a text and writes its offset; false when memory runs out. */
bool text_add(struct policy_rows *rows, const char *text, uint32_t *offset);

struct policy_build;
/* The rows of a build; the build's. */
struct policy_rows *policy_build_rows(const struct policy_build *build);

/* A login as it is compared: ASCII lower case; what stands behind its last @ in A-labels where it
 * is a domain. Cut to fit. errno is ENOMEM where it was memory that lacked: the result is then not
 * to be used. */
void login_fold(const char *text, size_t size, char to[ADDRESS_PATH_MOST + 1]);

/* The forms in which a login is looked up: as given; without its realm or login_domain; with
 * login_domain. "" where there is none. taro and taro@login_domain are one person, so a row for
 * either speaks for both. */
enum { LOGIN_FORMS = 3 };

struct login_forms {
    char form[LOGIN_FORMS][ADDRESS_PATH_MOST + 1];
};
void policy_login_forms(const struct policy *policy, const struct text *login,
                        struct login_forms *forms);

static inline const char *rows_text(const struct policy_rows *rows, uint32_t offset)
{
    return (const char *)rows->texts.items + offset;
}

/* In force at this wall time (seconds)? */
static inline bool in_force(int64_t expires, int64_t now)
{
    return expires == EXPIRES_NEVER || now < expires;
}

/* The row that a payload of the listing maps stands for. */
struct listing_view {
    struct rule rule;
    enum listing listing;
    bool everyone;
};
struct listing_view policy_listing_view(const struct policy_rows *rows, uint32_t payload);

/* The range of an IPv4 listing row. */
struct range listing4_range(const struct listing_row4 *row);

#endif
