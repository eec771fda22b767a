/* From rows to a policy: checks no single row can show, and the maps of one moment. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "core/policy_seal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/policy_rows.h"

static void expire(struct policy *policy, int64_t expires, int64_t now)
{
    if (expires != EXPIRES_NEVER && now < expires && expires * 1000 < policy->next_expiry) {
        policy->next_expiry = expires * 1000;
    }
}

/* A name map over n rows: key(rows, i) is the text, NULL leaves the row out. */
static void index_names(struct policy *policy, struct namemap *map, struct namemap_entry **next,
                        const struct list *list, size_t key_offset)
{
    struct namemap_entry *entries = *next;
    for (size_t i = 0; i < list->count; i++) {
        uint32_t offset;
        memcpy(&offset, (const char *)list->items + i * list->size + key_offset, sizeof offset);
        entries[i] = (struct namemap_entry){
            .key = rows_text(policy->rows, offset), .payload = (uint32_t)i, .order = (uint32_t)i};
    }
    *next = entries + list->count;
    namemap_build(map, entries, list->count);
}

static enum status index_all_names(struct policy *policy, struct why *why)
{
    const struct policy_rows *rows = policy->rows;
    size_t count = rows->local_domain.count + rows->own_name.count + rows->identity.count +
                   rows->identity_sender.count + rows->identity_host.count +
                   rows->receive_only.count + rows->spam_trap.count;
    struct namemap_entry *next = malloc((count + 1) * sizeof *next);

    if (next == NULL) {
        return why_set(why, STATUS_BROKEN, "no memory for %zu names", count);
    }
    policy->entries = next;
    policy->size += (count + 1) * sizeof *next;
    index_names(policy, &policy->local_domain, &next, &rows->local_domain,
                offsetof(struct local_domain_row, domain));
    index_names(policy, &policy->own_name, &next, &rows->own_name, offsetof(struct name_row, name));
    index_names(policy, &policy->identity, &next, &rows->identity,
                offsetof(struct identity_row, name));
    index_names(policy, &policy->identity_sender, &next, &rows->identity_sender,
                offsetof(struct identity_sender_row, identity));
    index_names(policy, &policy->identity_host, &next, &rows->identity_host,
                offsetof(struct range_row, text));
    index_names(policy, &policy->receive_only, &next, &rows->receive_only,
                offsetof(struct name_row, name));
    index_names(policy, &policy->spam_trap, &next, &rows->spam_trap,
                offsetof(struct name_row, name));
    return STATUS_OK;
}

/* The id of a row that begins with it: all but those that begin with a range. */
static int64_t row_id(const struct list *list, uint32_t payload)
{
    int64_t id;
    memcpy(&id, (const char *)list->items + payload * list->size, sizeof id);
    return id;
}

/* Two rows that say the same thing twice, or one trap that must receive. */
static enum status check_names(const struct policy *policy, struct why *why)
{
    const struct policy_rows *rows = policy->rows;
    const struct {
        enum table table;
        const struct namemap *map;
        const struct list *list;
    } unique[] = {{TABLE_LOCAL_DOMAIN, &policy->local_domain, &rows->local_domain},
                  {TABLE_OWN_NAME, &policy->own_name, &rows->own_name},
                  {TABLE_IDENTITY, &policy->identity, &rows->identity},
                  {TABLE_RECEIVE_ONLY, &policy->receive_only, &rows->receive_only},
                  {TABLE_SPAM_TRAP, &policy->spam_trap, &rows->spam_trap}};
    char shown[160];

    for (size_t t = 0; t < sizeof unique / sizeof unique[0]; t++) {
        for (size_t i = 1; i < unique[t].map->count; i++) {
            const struct namemap_entry *a = &unique[t].map->entries[i - 1], *b = a + 1;
            if (strcmp(a->key, b->key) == 0) {
                printable_copy(shown, sizeof shown, a->key, strlen(a->key), 32);
                return why_set(why, STATUS_BAD,
                               "%s %" PRId64 ": %s stands in row %" PRId64 " already",
                               table_name(unique[t].table), row_id(unique[t].list, b->payload),
                               shown, row_id(unique[t].list, a->payload));
            }
        }
    }
    for (size_t i = 0; i < policy->spam_trap.count; i++) {
        const struct namemap_entry *trap = &policy->spam_trap.entries[i];
        const char *at = strrchr(trap->key, '@');
        struct namemap_span same = namemap_find(&policy->receive_only, trap->key);
        if (same.count == 0 && at != NULL) {
            char local[ADDRESS_PATH_MOST + 1];
            snprintf(local, sizeof local, "%.*s", (int)(at - trap->key), trap->key);
            same = namemap_find(&policy->receive_only, local);
        }
        if (same.count == 0 && at == NULL) {
            /* a bare trap against receive_only addresses of that local part in any domain */
            size_t size = strlen(trap->key);
            for (size_t n = 0; n < policy->receive_only.count; n++) {
                const struct namemap_entry *entry = &policy->receive_only.entries[n];
                if (strncmp(entry->key, trap->key, size) == 0 && entry->key[size] == '@' &&
                    strchr(entry->key + size + 1, '@') == NULL) {
                    same = (struct namemap_span){entry, 1};
                    break;
                }
            }
        }
        if (same.count > 0) {
            printable_copy(shown, sizeof shown, trap->key, strlen(trap->key), 32);
            return why_set(why, STATUS_BAD,
                           "spam_trap %" PRId64 ": %s is receive-only (receive_only %" PRId64
                           ") and must never be refused",
                           row_id(&rows->spam_trap, trap->payload), shown,
                           row_id(&rows->receive_only, same.entries->payload));
        }
    }
    return STATUS_OK;
}

/* Fills items with the rows in force of one tier (own = 0, imported = 1); everyone_only leaves the
 * strangers rows out. */
static size_t gather_listing(const struct policy *policy, struct rangemap_item *items, size_t tier,
                             bool everyone_only, int64_t now, bool *strangers)
{
    const struct policy_rows *rows = policy->rows;
    size_t count = 0, both = rows->listing4.count + rows->listing6.count;

    for (size_t i = 0; i < both; i++) {
        bool is4 = i < rows->listing4.count;
        const struct listing_row4 *four =
            is4 ? (const struct listing_row4 *)rows->listing4.items + i : NULL;
        const struct listing_row6 *six =
            is4 ? NULL
                : (const struct listing_row6 *)rows->listing6.items + (i - rows->listing4.count);
        uint64_t word = is4 ? four->word : six->word;
        if (WORD_IMPORTED(word) != (tier == 1) || !in_force(WORD_EXPIRES(word), now)) {
            continue;
        }
        *strangers = *strangers || !WORD_EVERYONE(word);
        if (everyone_only && !WORD_EVERYONE(word)) {
            continue;
        }
        items[count++] = (struct rangemap_item){
            is4 ? listing4_range(four) : six->range, (uint32_t)i,
            (uint32_t)(is4 ? i : i - rows->listing4.count), (unsigned char)WORD_LISTING(word)};
    }
    for (size_t i = 0; tier == 0 && i < rows->client_host.count; i++) {
        const struct range_row *row = (const struct range_row *)rows->client_host.items + i;
        if (in_force(row->expires, now)) {
            items[count++] = (struct rangemap_item){row->range, (uint32_t)(both + i),
                                                    (uint32_t)(both + i), LISTING_ACCEPT};
        }
    }
    return count;
}

static size_t rangemap_size(const struct rangemap *map)
{
    return (map->index4 != NULL ? RANGEMAP_INDEX * sizeof *map->index4 : 0) +
           map->count4 * (sizeof *map->first4 + sizeof *map->value4) +
           map->count6 * (sizeof *map->first6 + sizeof *map->value6);
}

static enum status index_ranges(struct policy *policy, int64_t now, struct why *why)
{
    const struct policy_rows *rows = policy->rows;
    size_t most = rows->listing4.count + rows->listing6.count + rows->client_host.count;
    struct rangemap_item *items = malloc((most + 1) * sizeof *items);
    enum status status = STATUS_BROKEN;
    size_t count = 0;

    if (items == NULL) {
        goto out;
    }
    for (size_t tier = 0; tier < 2; tier++) {
        bool everyone = false, unused = false;
        count = gather_listing(policy, items, tier, false, now, &policy->has_strangers[tier]);
        if (rangemap_build(&policy->listed[tier], items, count) != 0) {
            goto out;
        }
        policy->size += rangemap_size(&policy->listed[tier]);
        if (policy->has_strangers[tier]) {
            count = gather_listing(policy, items, tier, true, now, &unused);
            everyone = count > 0;
        }
        if (everyone && rangemap_build(&policy->listed_login[tier], items, count) != 0) {
            goto out;
        }
        policy->size += rangemap_size(&policy->listed_login[tier]);
    }
    count = 0;
    for (size_t i = 0; i < rows->client_host.count; i++) {
        const struct range_row *row = (const struct range_row *)rows->client_host.items + i;
        if (in_force(row->expires, now)) {
            items[count++] = (struct rangemap_item){row->range, (uint32_t)i, (uint32_t)i, 0};
        }
    }
    if (rangemap_build(&policy->client_host, items, count) != 0) {
        goto out;
    }
    policy->size += rangemap_size(&policy->client_host);
    status = STATUS_OK;
out:
    free(items);
    return status == STATUS_OK
               ? status
               : why_set(why, status, "no memory for a map of %zu address ranges", most);
}

/* -- limits --------------------------------------------------------------------------------- */

/* Rows of one rule side by side: by name and subject, then by who, then by id. The texts are those
 * of the rows being sorted. */
static int compare_limits(const struct policy_rows *rows, const struct limit_row *a,
                          const struct limit_row *b)
{
    int difference = strcmp(rows_text(rows, a->name), rows_text(rows, b->name));

    if (difference == 0) {
        difference = (int)a->limit.subject - (int)b->limit.subject;
    }
    return difference;
}

static int compare_who(const struct policy_rows *rows, const struct limit_row *a,
                       const struct limit_row *b)
{
    int difference = compare_limits(rows, a, b);

    if (difference == 0) {
        difference = strcmp(rows_text(rows, a->who), rows_text(rows, b->who));
    }
    return difference != 0 ? difference : a->id < b->id ? -1 : a->id > b->id;
}

/* Heap sort: qsort has no place for the texts. */
static void sift(const struct policy_rows *rows, struct limit_row *items, size_t root, size_t count)
{
    for (size_t child; (child = 2 * root + 1) < count; root = child) {
        if (child + 1 < count && compare_who(rows, &items[child], &items[child + 1]) < 0) {
            child++;
        }
        if (compare_who(rows, &items[root], &items[child]) >= 0) {
            return;
        }
        struct limit_row kept = items[root];
        items[root] = items[child];
        items[child] = kept;
    }
}

static void sort_limits(const struct policy_rows *rows, struct limit_row *items, size_t count)
{
    for (size_t i = count / 2; i-- > 0;) {
        sift(rows, items, i, count);
    }
    for (size_t i = count; i-- > 1;) {
        struct limit_row kept = items[0];
        items[0] = items[i];
        items[i] = kept;
        sift(rows, items, 0, i);
    }
}

/* FNV-1a, 64 bits: names a count for as long as name and manner of counting stay the same, so that
 * an edit of `allowed` or `then` forgets nothing. */
static uint64_t fnv(uint64_t hash, const void *bytes, size_t size)
{
    const unsigned char *byte = bytes;

    for (size_t i = 0; i < size; i++) {
        hash = (hash ^ byte[i]) * UINT64_C(1099511628211);
    }
    return hash;
}

static uint64_t limit_group(const struct policy_rows *rows, const struct limit_row *row)
{
    const char *name = rows_text(rows, row->name);
    unsigned char manner[] = {
        (unsigned char)row->limit.subject,         (unsigned char)row->limit.counts,
        (unsigned char)row->limit.direction,       (unsigned char)(row->limit.seconds >> 24),
        (unsigned char)(row->limit.seconds >> 16), (unsigned char)(row->limit.seconds >> 8),
        (unsigned char)row->limit.seconds};
    uint64_t hash = fnv(UINT64_C(14695981039346656037), name, strlen(name) + 1);

    return fnv(hash, manner, sizeof manner);
}

/* The ranges of one rule. */
static enum status map_rule(struct limit_rule *rule, const struct limit_row *rows)
{
    struct rangemap_item *items = malloc((rule->count + 1) * sizeof *items);
    size_t count = 0;
    int code = -1;

    if (items != NULL) {
        for (uint32_t i = rule->first; i < rule->first + rule->count; i++) {
            if (rows[i].has_range) {
                items[count++] = (struct rangemap_item){rows[i].range, i, (uint32_t)rows[i].id, 0};
            }
        }
        code = rangemap_build(&rule->ranges, items, count);
        free(items);
    }
    return code == 0 ? STATUS_OK : STATUS_BROKEN;
}

static enum status index_limits(struct policy *policy, struct why *why)
{
    const struct policy_rows *rows = policy->rows;
    size_t count = rows->rate_limit.count;
    struct limit_row *items = malloc((count + 1) * sizeof *items);
    struct limit_rule *rules = calloc(LIMITS_MOST, sizeof *rules);
    enum status status = STATUS_OK;

    policy->limit_rows = items;
    policy->limit_rules = rules;
    if (items == NULL || rules == NULL) {
        return why_set(why, STATUS_BROKEN, "no memory for %zu limits", count);
    }
    if (count > 0) {
        memcpy(items, rows->rate_limit.items, count * sizeof *items);
    }
    policy->size += (count + 1) * sizeof *items + LIMITS_MOST * sizeof *rules;
    sort_limits(rows, items, count);
    for (size_t i = 0; i < count && status == STATUS_OK; i++) {
        items[i].limit.group = limit_group(rows, &items[i]);
        if (i > 0 && compare_limits(rows, &items[i - 1], &items[i]) == 0) {
            struct limit_rule *rule = &rules[policy->limit_rule_count - 1];
            if (!items[i].has_range &&
                strcmp(rows_text(rows, items[i - 1].who), rows_text(rows, items[i].who)) == 0) {
                status = why_set(why, STATUS_BAD,
                                 "rate_limit %" PRId64 ": says of the same who as row %" PRId64
                                 " of this rule something else",
                                 items[i].id, items[i - 1].id);
            }
            rule->count++;
            continue;
        }
        if (policy->limit_rule_count == LIMITS_MOST) {
            status = why_set(why, STATUS_BAD,
                             "rate_limit %" PRId64 ": is the beginning of one rule too many; rows "
                             "that share a name are one rule, and there may be %d",
                             items[i].id, LIMITS_MOST);
            break;
        }
        rules[policy->limit_rule_count++] = (struct limit_rule){
            .subject = items[i].limit.subject, .first = (uint32_t)i, .count = 1};
    }
    for (size_t i = 0; i < policy->limit_rule_count && status == STATUS_OK; i++) {
        bool ranges = rules[i].subject == SUBJECT_CLIENT || rules[i].subject == SUBJECT_WINDOW;
        if (ranges && map_rule(&rules[i], items) != STATUS_OK) {
            status = why_set(why, STATUS_BROKEN, "no memory for the ranges of limits");
        }
    }
    return status;
}

static void find_next_expiry(struct policy *policy, int64_t now)
{
    const struct policy_rows *rows = policy->rows;
    const struct list *ranges[] = {&rows->client_host, &rows->exemption, &rows->identity_host};

    policy->next_expiry = INT64_MAX;
    for (size_t l = 0; l < sizeof ranges / sizeof ranges[0]; l++) {
        for (size_t i = 0; i < ranges[l]->count; i++) {
            expire(policy, ((const struct range_row *)ranges[l]->items)[i].expires, now);
        }
    }
    for (size_t i = 0; i < rows->identity.count; i++) {
        expire(policy, ((const struct identity_row *)rows->identity.items)[i].expires, now);
    }
    for (size_t i = 0; i < rows->identity_sender.count; i++) {
        expire(policy, ((const struct identity_sender_row *)rows->identity_sender.items)[i].expires,
               now);
    }
    for (size_t i = 0; i < rows->listing4.count; i++) {
        expire(policy, WORD_EXPIRES(((const struct listing_row4 *)rows->listing4.items)[i].word),
               now);
    }
    for (size_t i = 0; i < rows->listing6.count; i++) {
        expire(policy, WORD_EXPIRES(((const struct listing_row6 *)rows->listing6.items)[i].word),
               now);
    }
}

/* All client hosts together may hold so many public addresses and no more: the promise that a slip
 * of the pen cannot open the relay to the world. */
static enum status check_client_host_most(const struct policy *policy, int64_t now, struct why *why)
{
    const struct list *list = &policy->rows->client_host;
    struct range *ranges = malloc((list->count + 1) * sizeof *ranges);
    const struct range_row *widest[2] = {NULL, NULL};
    uint64_t ipv4 = 0, ipv6 = 0;
    size_t count = 0;
    enum status status = STATUS_OK;

    if (ranges == NULL) {
        return why_set(why, STATUS_BROKEN, "no memory to count client hosts");
    }
    for (size_t i = 0; i < list->count; i++) {
        const struct range_row *row = (const struct range_row *)list->items + i;
        if (!in_force(row->expires, now)) {
            continue;
        }
        struct range alone = row->range;
        uint64_t alone4, alone6;
        ranges_count_public(&alone, 1, &alone4, &alone6);
        const struct range_row **most = &widest[ip_is_ipv4(&row->range.first) ? 0 : 1];
        if (alone4 + alone6 > 0) {
            struct ip width = range_width(&row->range), least;
            memset(&least, 0, sizeof least);
            if (*most != NULL) {
                least = range_width(&(*most)->range);
            }
            if (*most == NULL || ip_compare(&width, &least) > 0) {
                *most = row;
            }
        }
        ranges[count++] = row->range;
    }
    ranges_count_public(ranges, count, &ipv4, &ipv6);
    for (int family = 0; family < 2 && status == STATUS_OK; family++) {
        int64_t most = policy_number(policy, family == 0 ? SETTING_CLIENT_HOST_MOST
                                                         : SETTING_CLIENT_HOST_MOST_IPV6);
        uint64_t held = family == 0 ? ipv4 : ipv6;
        if (held > (uint64_t)most && widest[family] != NULL) {
            char text[RANGE_TEXT];
            range_text(&widest[family]->range, text);
            status = why_set(why, STATUS_BAD,
                             "client_host %" PRId64 ": with %s all client hosts together hold "
                             "%" PRIu64 " public %s; the setting %s allows %" PRId64,
                             widest[family]->id, text, held,
                             family == 0 ? "IPv4 addresses" : "IPv6 networks of /48",
                             family == 0 ? "client_host_most" : "client_host_most_ipv6", most);
        }
    }
    free(ranges);
    return status;
}

static enum status seal(struct policy_rows *rows, int64_t now, struct policy **sealed,
                        struct why *why)
{
    struct policy *policy = calloc(1, sizeof *policy);
    enum status status;

    *sealed = NULL;
    if (policy == NULL) {
        return why_set(why, STATUS_BROKEN, "no memory for a policy");
    }
    policy_rows_hold(rows);
    policy->rows = rows;
    policy->sealed_at = now;
    int64_t seconds = now / 1000 - (now % 1000 < 0);
    find_next_expiry(policy, seconds);
    policy->size = sizeof *policy + policy_rows_size(rows);
    status = index_all_names(policy, why);
    if (status == STATUS_OK) {
        status = check_names(policy, why);
    }
    if (status == STATUS_OK) {
        status = index_ranges(policy, seconds, why);
    }
    if (status == STATUS_OK) {
        status = index_limits(policy, why);
    }
    if (status == STATUS_OK) {
        status = check_client_host_most(policy, seconds, why);
    }
    if (status == STATUS_OK) {
        *sealed = policy;
    } else {
        policy_free(policy);
    }
    return status;
}

enum status policy_seal(const struct policy_build *build, int64_t now, struct policy **policy,
                        struct why *why)
{
    policy_rows_seal(policy_build_rows(build));
    return seal(policy_build_rows(build), now, policy, why);
}

enum status policy_reseal(const struct policy *policy, int64_t now, struct policy **resealed,
                          struct why *why)
{
    return seal(policy->rows, now, resealed, why);
}
