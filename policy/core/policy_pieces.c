/* What a policy says of every address, in pieces and in rows: for lists that others read. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "core/policy_pieces.h"

#include <stdlib.h>
#include <string.h>

#include "core/policy_rows.h"

/* Between two neighbouring ends of ranges everything is judged alike, so one address of each such
 * piece is asked, by the very functions that judge. */

struct ends {
    struct ip *items; /* where a piece may begin */
    size_t count, room;
};

static bool add_end(struct ends *ends, const struct ip *first)
{
    if (ends->count == ends->room) {
        size_t room = ends->room > 0 ? 2 * ends->room : 256;
        struct ip *items = realloc(ends->items, room * sizeof *items);
        if (items == NULL) {
            return false;
        }
        ends->items = items;
        ends->room = room;
    }
    ends->items[ends->count++] = *first;
    return true;
}

static bool ip_next(struct ip *ip)
{
    for (int i = 15; i >= 0; i--) {
        if (++ip->byte[i] != 0) {
            return true;
        }
    }
    return false;
}

/* The one before; there is one. */
static struct ip ip_before(struct ip ip)
{
    for (int i = 15; i >= 0; i--) {
        if (ip.byte[i]-- != 0) {
            break;
        }
    }
    return ip;
}

/* The last address of the family. */
static struct ip family_last(bool ipv4)
{
    struct ip last;

    memset(last.byte, 0xff, sizeof last.byte);
    return ipv4 ? ip_from_ipv4(last.byte) : last;
}

/* Both ends of a range, if it is of the family. */
static bool add_range(struct ends *ends, const struct range *range, bool ipv4)
{
    struct ip next = range->last;

    if (ip_is_ipv4(&range->first) != ipv4) {
        return true;
    }
    return add_end(ends, &range->first) &&
           (!ip_next(&next) || (ipv4 && !ip_is_ipv4(&next)) || add_end(ends, &next));
}

static bool add_map(struct ends *ends, const struct rangemap *map, bool ipv4)
{
    for (size_t i = 0; i < (ipv4 ? map->count4 : map->count6); i++) {
        uint32_t number = ipv4 ? map->first4[i] : 0;
        struct ip first = ipv4 ? ip_from_ipv4((const unsigned char[4]){
                                     (unsigned char)(number >> 24), (unsigned char)(number >> 16),
                                     (unsigned char)(number >> 8), (unsigned char)number})
                               : map->first6[i];
        if (!add_end(ends, &first)) {
            return false;
        }
    }
    return true;
}

static int compare_ends(const void *a, const void *b)
{
    return ip_compare(a, b);
}

size_t policy_parts(const struct range *range, bool ipv4, struct range parts[2])
{
    static const struct ip before = {
        {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xfe, 0xff, 0xff, 0xff, 0xff}};
    static const struct ip behind = {{[9] = 1}};
    size_t count = 0;

    if (ipv4 || ip_compare(&range->last, &before) <= 0 || ip_compare(&range->first, &behind) >= 0) {
        parts[0] = *range;
        return 1;
    }
    if (ip_compare(&range->first, &before) <= 0) {
        parts[count++] = (struct range){range->first, before};
    }
    if (ip_compare(&range->last, &behind) >= 0) {
        parts[count++] = (struct range){behind, range->last};
    }
    return count;
}

/* -- pieces --------------------------------------------------------------------------------- */

static const struct range_row *exemption_at(const struct policy *policy, size_t n)
{
    const struct range_row *row = (const struct range_row *)policy->rows->exemption.items + n;

    return in_force(row->expires, policy_sealed_at(policy) / 1000) ? row : NULL;
}

/* Where somebody is exempt from the check. */
static bool map_exemptions(const struct policy *policy, enum check check, struct rangemap *map)
{
    size_t most = policy->rows->exemption.count, count = 0;
    struct rangemap_item *items = malloc((most + 1) * sizeof *items);
    bool good = items != NULL;

    for (size_t i = 0; good && i < most; i++) {
        const struct range_row *row = exemption_at(policy, i);
        if (row != NULL && row->check == check) {
            items[count++] = (struct rangemap_item){row->range, 0, (uint32_t)i, 0};
        }
    }
    good = good && rangemap_build(map, items, count) == 0;
    free(items);
    return good;
}

struct asking {
    const struct policy *policy;
    struct rangemap exempt_listed, exempt_block;
    bool listed, block;          /* are the checks enforced? */
    struct policy_block *blocks; /* by their first address */
    size_t count, next, open;    /* those before next have begun, the first `open` of them may still
                                    hold an address */
};

static int compare_blocks(const void *a, const void *b)
{
    const struct policy_block *x = a, *y = b;

    return ip_compare(&x->range.first, &y->range.first);
}

/* How long the blocks that hold the address last; addresses come in ascending order. */
static int64_t block_left(struct asking *asking, const struct ip *ip)
{
    int64_t left = 0;
    size_t kept = 0;

    while (asking->next < asking->count &&
           ip_compare(&asking->blocks[asking->next].range.first, ip) <= 0) {
        asking->blocks[asking->open++] = asking->blocks[asking->next++];
    }
    for (size_t i = 0; i < asking->open; i++) {
        const struct policy_block *block = &asking->blocks[i];
        if (ip_compare(&block->range.last, ip) < 0) {
            continue;
        }
        if (range_holds(&block->range, ip) && block->left > left) {
            left = block->left;
        }
        asking->blocks[kept++] = *block;
    }
    asking->open = kept;
    return left;
}

static void ask(struct asking *asking, const struct ip *ip, struct policy_piece *piece)
{
    const struct policy *policy = asking->policy;
    enum listing listing = policy_listed(policy, ip, false, NULL);

    piece->strangers = asking->listed && listing == LISTING_REJECT &&
                       rangemap_find(&asking->exempt_listed, ip) == RANGEMAP_NONE;
    piece->everyone = piece->strangers && policy_listed(policy, ip, true, NULL) == LISTING_REJECT;
    /* A client host is no stranger, unless a narrower row carves it out (decide.c). */
    bool ours = policy_client_host(policy, ip, NULL) && listing <= LISTING_ACCEPT;
    piece->left =
        asking->block && !ours && rangemap_find(&asking->exempt_block, ip) == RANGEMAP_NONE
            ? block_left(asking, ip)
            : 0;
}

static bool says_something(const struct policy_piece *piece)
{
    return piece->strangers || piece->left > 0;
}

static bool says_the_same(const struct policy_piece *a, const struct policy_piece *b)
{
    return a->strangers == b->strangers && a->everyone == b->everyone && a->left == b->left;
}

struct telling {
    bool (*take)(void *, const struct policy_piece *);
    void *context;
    struct policy_piece pending; /* the last one, if waits: the next may lengthen it */
    bool waits;
};

/* Tells the pending piece, unless this one goes on with it. false: enough. */
static bool tell(struct telling *telling, const struct policy_piece *piece)
{
    struct ip behind = telling->pending.range.last;

    if (telling->waits && says_the_same(&telling->pending, piece) && ip_next(&behind) &&
        ip_compare(&behind, &piece->range.first) == 0) {
        telling->pending.range.last = piece->range.last;
        return true;
    }
    if (telling->waits && !telling->take(telling->context, &telling->pending)) {
        return false;
    }
    telling->pending = *piece;
    telling->waits = says_something(piece);
    return true;
}

/* Asks one address of each piece of the family. Returns false when it was told: enough. */
static bool walk(struct asking *asking, struct ends *ends, bool ipv4,
                 bool (*take)(void *, const struct policy_piece *), void *context)
{
    struct telling telling = {.take = take, .context = context};

    if (ends->count > 0) {
        qsort(ends->items, ends->count, sizeof ends->items[0], compare_ends);
    }
    for (size_t i = 0; i < ends->count; i++) {
        struct range range = {ends->items[i], family_last(ipv4)}, parts[2];
        if (i + 1 < ends->count) {
            if (ip_compare(&ends->items[i], &ends->items[i + 1]) == 0) {
                continue;
            }
            range.last = ip_before(ends->items[i + 1]);
        }
        for (size_t part = 0, count = policy_parts(&range, ipv4, parts); part < count; part++) {
            struct policy_piece piece = {.range = parts[part]};
            ask(asking, &piece.range.first, &piece);
            if (!tell(&telling, &piece)) {
                return false;
            }
        }
    }
    return !telling.waits || take(context, &telling.pending);
}

enum status policy_pieces(const struct policy *policy, const struct policy_block *blocks,
                          size_t count, bool (*take)(void *context, const struct policy_piece *),
                          void *context, struct why *why)
{
    struct asking asking = {.policy = policy};
    const struct rangemap *maps[] = {&policy->listed[0],       &policy->listed[1],
                                     &policy->listed_login[0], &policy->listed_login[1],
                                     &policy->client_host,     &asking.exempt_listed,
                                     &asking.exempt_block};
    struct ends ends = {NULL, 0, 0};
    enum status status = STATUS_BROKEN;
    bool more = true;

    asking.listed = policy_check_mode(policy, CHECK_LISTED, NULL) == MODE_ENFORCE;
    asking.block = policy_check_mode(policy, CHECK_BLOCK, NULL) == MODE_ENFORCE;
    asking.blocks = malloc((count + 1) * sizeof *asking.blocks);
    if (asking.blocks == NULL || !map_exemptions(policy, CHECK_LISTED, &asking.exempt_listed) ||
        !map_exemptions(policy, CHECK_BLOCK, &asking.exempt_block)) {
        goto out;
    }
    for (size_t family = 0; more && family < 2; family++) {
        bool ipv4 = family == 0;
        ends.count = asking.count = asking.next = asking.open = 0;
        for (size_t i = 0; i < count; i++) {
            if (ip_is_ipv4(&blocks[i].range.first) == ipv4) {
                asking.blocks[asking.count++] = blocks[i];
                if (!add_range(&ends, &blocks[i].range, ipv4)) {
                    goto out;
                }
            }
        }
        if (asking.count > 0) {
            qsort(asking.blocks, asking.count, sizeof asking.blocks[0], compare_blocks);
        }
        for (size_t i = 0; i < sizeof maps / sizeof maps[0]; i++) {
            if (!add_map(&ends, maps[i], ipv4)) {
                goto out;
            }
        }
        more = walk(&asking, &ends, ipv4, take, context);
    }
    status = STATUS_OK;
out:
    rangemap_free(&asking.exempt_listed);
    rangemap_free(&asking.exempt_block);
    free(asking.blocks);
    free(ends.items);
    return status == STATUS_OK ? status
                               : why_set(why, status, "no memory to put the ranges in order");
}

/* -- rows ----------------------------------------------------------------------------------- */

enum tier { TIER_EXEMPT, TIER_OWN, TIER_IMPORTED };

/* A row and what decides between it and another. */
struct ranked {
    struct policy_listed_row row;
    struct ip width;
    enum tier tier;
    uint32_t order;
};

static int compare_ranked(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    int difference = (int)x->tier - (int)y->tier;

    if (difference == 0) {
        difference = ip_compare(&x->width, &y->width);
    }
    if (difference == 0) {
        difference = (int)y->row.listing - (int)x->row.listing;
    }
    return difference != 0 ? difference : x->order < y->order ? -1 : 1;
}

static void rank(struct ranked *item, enum tier tier, const struct range *range,
                 enum listing listing, struct rule rule, uint32_t order)
{
    *item = (struct ranked){{*range, listing, rule}, range_width(range), tier, order};
}

enum status policy_listed_rows(const struct policy *policy,
                               bool (*take)(void *context, const struct policy_listed_row *),
                               void *context, struct why *why)
{
    const struct policy_rows *rows = policy->rows;
    size_t four = rows->listing4.count, both = four + rows->listing6.count, count = 0;
    struct ranked *items =
        malloc((both + rows->client_host.count + rows->exemption.count + 1) * sizeof *items);
    int64_t now = policy_sealed_at(policy) / 1000;

    if (items == NULL) {
        return why_set(why, STATUS_BROKEN, "no memory to put %zu rows in order", both);
    }
    for (size_t i = 0; i < rows->exemption.count; i++) {
        const struct range_row *row = exemption_at(policy, i);
        if (row != NULL && row->check == CHECK_LISTED) {
            rank(&items[count++], TIER_EXEMPT, &row->range, LISTING_ACCEPT,
                 (struct rule){TABLE_EXEMPTION, row->id}, (uint32_t)i);
        }
    }
    for (size_t i = 0; i < both; i++) {
        const struct listing_row4 *row4 =
            i < four ? (const struct listing_row4 *)rows->listing4.items + i : NULL;
        const struct listing_row6 *row6 =
            i < four ? NULL : (const struct listing_row6 *)rows->listing6.items + (i - four);
        struct range range = i < four ? listing4_range(row4) : row6->range;
        uint64_t word = i < four ? row4->word : row6->word;
        if (in_force(WORD_EXPIRES(word), now)) {
            rank(&items[count++], WORD_IMPORTED(word) ? TIER_IMPORTED : TIER_OWN, &range,
                 WORD_LISTING(word), (struct rule){TABLE_IP_RANGE, i < four ? row4->id : row6->id},
                 (uint32_t)i);
        }
    }
    for (size_t i = 0; i < rows->client_host.count; i++) {
        const struct range_row *row = (const struct range_row *)rows->client_host.items + i;
        if (in_force(row->expires, now)) {
            rank(&items[count++], TIER_OWN, &row->range, LISTING_ACCEPT,
                 (struct rule){TABLE_CLIENT_HOST, row->id}, (uint32_t)(both + i));
        }
    }
    if (policy_check_mode(policy, CHECK_LISTED, NULL) != MODE_ENFORCE) {
        count = 0;
    }
    if (count > 0) {
        qsort(items, count, sizeof items[0], compare_ranked);
    }
    for (size_t i = 0; i < count && take(context, &items[i].row); i++) {
    }
    free(items);
    return STATUS_OK;
}
