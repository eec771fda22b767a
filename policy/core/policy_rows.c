/* How a policy keeps its rows: growing lists, one block of texts, shared by reference. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "core/policy_rows.h"

#include <stdlib.h>
#include <string.h>

void *list_add(struct list *list)
{
    if (list->count == list->room) {
        size_t room = list->room == 0 ? 16 : list->room + list->room / 2;
        void *items = realloc(list->items, room * list->size);
        if (items == NULL) {
            return NULL;
        }
        list->items = items;
        list->room = room;
    }
    void *item = (char *)list->items + list->count++ * list->size;
    memset(item, 0, list->size);
    return item;
}

static void list_trim(struct list *list)
{
    void *items = list->count > 0 ? realloc(list->items, list->count * list->size) : NULL;
    if (items != NULL) {
        list->items = items;
        list->room = list->count;
    }
}

bool text_add(struct policy_rows *rows, const char *text, uint32_t *offset)
{
    struct list *texts = &rows->texts;
    size_t size = strlen(text) + 1;

    if (size == 1) {
        *offset = 0;
        return true;
    }
    if (texts->count + size > UINT32_MAX) {
        return false;
    }
    if (texts->count + size > texts->room) {
        size_t room = texts->room + texts->room / 2 + size + 256;
        char *items = realloc(texts->items, room);
        if (items == NULL) {
            return false;
        }
        texts->items = items;
        texts->room = room;
    }
    memcpy((char *)texts->items + texts->count, text, size);
    *offset = (uint32_t)texts->count;
    texts->count += size;
    return true;
}

static struct list *row_lists(struct policy_rows *rows, size_t n)
{
    struct list *lists[] = {&rows->texts,           &rows->local_domain,  &rows->own_name,
                            &rows->client_host,     &rows->exemption,     &rows->identity,
                            &rows->identity_sender, &rows->identity_host, &rows->receive_only,
                            &rows->spam_trap,       &rows->rate_limit,    &rows->listing4,
                            &rows->listing6};
    return n < sizeof lists / sizeof lists[0] ? lists[n] : NULL;
}

void policy_rows_release(struct policy_rows *rows)
{
    struct list *list;

    if (rows == NULL || atomic_fetch_sub(&rows->references, 1) > 1) {
        return;
    }
    for (size_t i = 0; (list = row_lists(rows, i)) != NULL; i++) {
        free(list->items);
    }
    free(rows);
}

struct policy_rows *policy_rows_new(void)
{
    struct policy_rows *rows = calloc(1, sizeof *rows);
    char *texts = malloc(256);

    if (rows == NULL || texts == NULL) {
        free(rows);
        free(texts);
        return NULL;
    }
    atomic_init(&rows->references, 1);
    texts[0] = '\0';
    rows->texts = (struct list){texts, 1, 256, 1};
    rows->local_domain.size = sizeof(struct local_domain_row);
    rows->own_name.size = sizeof(struct name_row);
    rows->client_host.size = sizeof(struct range_row);
    rows->exemption.size = sizeof(struct range_row);
    rows->identity.size = sizeof(struct identity_row);
    rows->identity_sender.size = sizeof(struct identity_sender_row);
    rows->identity_host.size = sizeof(struct range_row);
    rows->receive_only.size = sizeof(struct name_row);
    rows->spam_trap.size = sizeof(struct name_row);
    rows->rate_limit.size = sizeof(struct limit_row);
    rows->listing4.size = sizeof(struct listing_row4);
    rows->listing6.size = sizeof(struct listing_row6);
    return rows;
}

void policy_rows_hold(struct policy_rows *rows)
{
    atomic_fetch_add(&rows->references, 1);
}

void policy_rows_seal(struct policy_rows *rows)
{
    struct list *list;

    for (size_t i = 0; !rows->sealed && (list = row_lists(rows, i)) != NULL; i++) {
        list_trim(list);
    }
    rows->sealed = true;
}

size_t policy_rows_size(struct policy_rows *rows)
{
    size_t size = sizeof *rows;
    const struct list *list;

    for (size_t i = 0; (list = row_lists(rows, i)) != NULL; i++) {
        size += list->room * list->size;
    }
    return size;
}

void login_fold(const char *text, size_t size, char to[ADDRESS_PATH_MOST + 1])
{
    char domain[ADDRESS_DOMAIN_ROOM];
    size_t length = size < ADDRESS_PATH_MOST ? size : ADDRESS_PATH_MOST;

    for (size_t i = 0; i < length; i++) {
        char c = text[i] == '\0' ? '\1' : text[i];
        to[i] = (char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
    }
    to[length] = '\0';
    char *at = strrchr(to, '@');
    if (at != NULL && domain_fold(at + 1, strlen(at + 1), domain) &&
        (size_t)(at + 1 - to) + strlen(domain) <= ADDRESS_PATH_MOST) {
        memcpy(at + 1, domain, strlen(domain) + 1);
    }
}

struct range listing4_range(const struct listing_row4 *row)
{
    unsigned char first[4] = {(unsigned char)(row->first >> 24), (unsigned char)(row->first >> 16),
                              (unsigned char)(row->first >> 8), (unsigned char)row->first};
    unsigned char last[4] = {(unsigned char)(row->last >> 24), (unsigned char)(row->last >> 16),
                             (unsigned char)(row->last >> 8), (unsigned char)row->last};
    return (struct range){ip_from_ipv4(first), ip_from_ipv4(last)};
}

struct listing_view policy_listing_view(const struct policy_rows *rows, uint32_t payload)
{
    uint64_t word;
    int64_t id;

    if (payload < rows->listing4.count) {
        const struct listing_row4 *row =
            (const struct listing_row4 *)rows->listing4.items + payload;
        word = row->word;
        id = row->id;
    } else if (payload < rows->listing4.count + rows->listing6.count) {
        const struct listing_row6 *row =
            (const struct listing_row6 *)rows->listing6.items + (payload - rows->listing4.count);
        word = row->word;
        id = row->id;
    } else {
        const struct range_row *row = (const struct range_row *)rows->client_host.items +
                                      (payload - rows->listing4.count - rows->listing6.count);
        return (struct listing_view){{TABLE_CLIENT_HOST, row->id}, LISTING_ACCEPT, true};
    }
    return (struct listing_view){{TABLE_IP_RANGE, id}, WORD_LISTING(word), WORD_EVERYONE(word)};
}
