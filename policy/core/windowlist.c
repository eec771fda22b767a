/* Login windows: a small array by client, open for seconds. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "core/windowlist.h"

#include <stdlib.h>
#include <string.h>

struct windowlist {
    size_t most, used, room;
    struct window **items; /* in the order of their clients */
};

struct windowlist *windowlist_new(size_t most)
{
    struct windowlist *list = calloc(1, sizeof *list);

    if (list != NULL) {
        list->most = most > 0 ? most : 1;
    }
    return list;
}

void windowlist_free(struct windowlist *list)
{
    if (list != NULL) {
        for (size_t i = 0; i < list->used; i++) {
            free(list->items[i]);
        }
        free(list->items);
        free(list);
    }
}

/* Where the client stands, or would. */
static size_t place_of(const struct windowlist *list, const struct ip *client, bool *found)
{
    size_t low = 0, high = list->used;

    *found = false;
    while (low < high && !*found) {
        size_t middle = low + (high - low) / 2;
        int difference = memcmp(list->items[middle]->client.byte, client->byte, 16);
        if (difference == 0) {
            low = middle;
            *found = true;
        } else if (difference < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static void take_out(struct windowlist *list, size_t place)
{
    free(list->items[place]);
    list->used--;
    memmove(&list->items[place], &list->items[place + 1],
            (list->used - place) * sizeof(struct window *));
}

/* Place for one more pointer; full: the window that ends first goes. */
static bool make_room(struct windowlist *list)
{
    if (list->used == list->most) {
        size_t first = 0;
        for (size_t i = 1; i < list->used; i++) {
            first = list->items[i]->until_steady < list->items[first]->until_steady ? i : first;
        }
        take_out(list, first);
    }
    if (list->used == list->room) {
        size_t room = list->room > 0 ? 2 * list->room : 16;
        struct window **items = realloc(list->items, room * sizeof *items);
        if (items == NULL) {
            return false;
        }
        list->items = items;
        list->room = room;
    }
    return true;
}

const struct window *windowlist_find(const struct windowlist *list, const struct ip *client,
                                     int64_t steady)
{
    bool found;
    size_t place = place_of(list, client, &found);

    return found && steady < list->items[place]->until_steady ? list->items[place] : NULL;
}

bool windowlist_put(struct windowlist *list, const struct window *window)
{
    bool found;
    size_t place = place_of(list, &window->client, &found);

    if (!found) {
        struct window *added = malloc(sizeof *added);
        if (added == NULL || !make_room(list)) {
            free(added);
            return false;
        }
        place = place_of(list, &window->client, &found); /* one may have gone before it */
        memmove(&list->items[place + 1], &list->items[place],
                (list->used - place) * sizeof(struct window *));
        list->items[place] = added;
        list->used++;
    }
    *list->items[place] = *window;
    list->items[place]->login[WINDOW_LOGIN - 1] = '\0';
    return true;
}

bool windowlist_remove(struct windowlist *list, const struct ip *client)
{
    bool found;
    size_t place = place_of(list, client, &found);

    if (found) {
        take_out(list, place);
    }
    return found;
}

size_t windowlist_sweep(struct windowlist *list, int64_t steady)
{
    size_t before = list->used;

    for (size_t i = list->used; i-- > 0;) {
        if (list->items[i]->until_steady <= steady) {
            take_out(list, i);
        }
    }
    return before - list->used;
}

size_t windowlist_count(const struct windowlist *list)
{
    return list->used;
}
