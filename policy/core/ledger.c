/* Counts over time: a bounded table of windows, and the floors of what it had to forget. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "core/ledger.h"

#include <stdlib.h>
#include <string.h>

#include "core/status.h"

/* Why no count is ever too low. Let the suffix of a window at an age be the number of its events
 * that are no older. For each key in the table the suffix of its window, at every age, is at least
 * that of its true events; for each key that is not in the table the suffix of its group's floor
 * is. A charge adds to both sides. When a key is forgotten its floor takes the larger suffix at
 * every age; a newcomer begins with the floor's window, so it has at least what it had when it was
 * forgotten, and it ages as that would have. A refund is taken only from the window that its charge
 * was added to (entry.since), so it never takes what was inherited: that may hold the refund
 * already, when a journal is replayed over a younger snapshot. */

enum {
    CHUNK = 4096,         /* places that are allocated at once */
    LOOK = 16,            /* places among which the one to be forgotten is looked for */
    REST = LEDGER_GROUPS, /* the floor shared by all groups that have none of their own */
    SECONDS_MOST = 31536000,
    KEYS_LEAST = 1000
};
#define KEYS_MOST ((size_t)1 << 30)
#define NONE SIZE_MAX
#define TIME_MOST (INT64_C(1) << 60)

struct window {
    int64_t bucket;                 /* number of the newest bucket: time / width */
    uint32_t seconds;               /* 0 = a floor that was never used */
    uint32_t allowed;               /* of a key; not above UINT32_MAX */
    uint32_t count[LEDGER_BUCKETS]; /* newest first */
};

struct entry {
    uint64_t hash, group;
    uint64_t seen; /* twice the last record; one more: ledger_restore brought it, all of it is in */
    int64_t since; /* charges made before are not in this entry's own part of the window */
    struct window window;
    char subject[LEDGER_SUBJECT];
};
_Static_assert(sizeof(struct entry) <= 144, "a million keys shall fit into 160 MB");

struct ledger {
    size_t keys_most, used;
    uint64_t seed, random;
    struct entry **chunks;
    size_t chunk_count;
    uint32_t *index; /* open addressing by hash: place + 1, 0 = free; at most half full */
    size_t index_mask;
    unsigned index_shift;
    uint64_t *changed; /* a bit for each place */
    size_t on_disk;    /* places from `used` up to this one are on disk and shall be emptied */
    uint64_t group[LEDGER_GROUPS];
    struct window floor[LEDGER_GROUPS + 1];
    bool floor_changed[LEDGER_GROUPS + 1];
    size_t floors; /* those behind were never used */
};

/* ---- windows ---- */

static int64_t clean_time(int64_t time)
{
    return time < 0 ? 0 : time < TIME_MOST ? time : TIME_MOST;
}

static uint32_t clean_seconds(uint32_t seconds)
{
    return seconds < 1 ? 1 : seconds < SECONDS_MOST ? seconds : SECONDS_MOST;
}

/* Milliseconds of a bucket: all but one of them cover the seconds. */
int64_t ledger_width(uint32_t seconds)
{
    return ((int64_t)seconds * 1000 + LEDGER_BUCKETS - 2) / (LEDGER_BUCKETS - 1);
}

static uint32_t add(uint32_t a, uint32_t b)
{
    return a > UINT32_MAX - b ? UINT32_MAX : a + b;
}

static uint64_t window_count(const struct window *window, int64_t now)
{
    int64_t passed = now / ledger_width(window->seconds) - window->bucket;
    int64_t counted = LEDGER_BUCKETS - (passed > 0 ? passed : 0);
    uint64_t sum = 0;
    for (int64_t i = 0; i < counted; i++) {
        sum += window->count[i];
    }
    return sum;
}

/* Makes `bucket` the newest. */
static void window_advance(struct window *window, int64_t bucket)
{
    int64_t passed = bucket - window->bucket;
    if (passed <= 0) {
        return;
    }
    if (passed < LEDGER_BUCKETS) {
        memmove(window->count + passed, window->count,
                (size_t)(LEDGER_BUCKETS - passed) * sizeof *window->count);
    } else {
        passed = LEDGER_BUCKETS;
    }
    memset(window->count, 0, (size_t)passed * sizeof *window->count);
    window->bucket = bucket;
}

/* The events of a window as they stand now, in buckets for so many seconds. In buckets of another
 * width each is as young as it may be: never older than it is. */
static struct window window_as(const struct window *from, uint32_t seconds, int64_t now)
{
    int64_t width = ledger_width(seconds);
    struct window to = {.bucket = now / width, .seconds = seconds};
    for (int i = 0; i < LEDGER_BUCKETS; i++) {
        if (from->count[i] > 0) {
            int64_t number = from->bucket - i;
            if (from->seconds != seconds) {
                number = ((number + 1) * ledger_width(from->seconds) - 1) / width;
            }
            int64_t age = number < to.bucket ? to.bucket - number : 0;
            if (age < LEDGER_BUCKETS) {
                to.count[age] = add(to.count[age], from->count[i]);
            }
        }
    }
    return to;
}

/* At every age the larger number of events of both, which have the same buckets; was it raised? */
static bool window_raise(struct window *window, const struct window *by)
{
    uint64_t sum = 0, sum_by = 0, before = 0;
    bool raised = false;
    for (int i = 0; i < LEDGER_BUCKETS; i++) {
        sum += window->count[i];
        sum_by += by->count[i];
        raised = raised || sum_by > sum;
        uint64_t larger = sum > sum_by ? sum : sum_by;
        window->count[i] = (uint32_t)(larger - before); /* not above the larger of both counts */
        before = larger;
    }
    return raised;
}

/* ---- floors ---- */

/* The floor that a group has of its own, or NONE. */
static size_t floor_find(const struct ledger *ledger, uint64_t group)
{
    for (size_t i = 0; i < ledger->floors; i++) {
        if (ledger->group[i] == group && ledger->floor[i].seconds != 0) {
            return i;
        }
    }
    return NONE;
}

/* What a key that is not in the table is taken to have. */
static struct window floor_window(const struct ledger *ledger, const struct ledger_key *key,
                                  int64_t now)
{
    size_t at = floor_find(ledger, key->group);
    return window_as(&ledger->floor[at != NONE ? at : REST], clean_seconds(key->seconds), now);
}

static bool floor_is_empty(const struct window *floor, int64_t now)
{
    return floor->seconds == 0 || window_count(floor, now) == 0;
}

/* The floor to be raised for a group. One that takes the place of a floor that has run out begins
 * with what the group may have left in the shared one. */
static size_t floor_take(struct ledger *ledger, uint64_t group, uint32_t seconds, int64_t now)
{
    size_t at = floor_find(ledger, group);
    if (at != NONE) {
        return at;
    }
    for (at = 0; at < LEDGER_GROUPS; at++) {
        if (floor_is_empty(&ledger->floor[at], now)) {
            ledger->group[at] = group;
            ledger->floor[at] = window_as(&ledger->floor[REST], seconds, now);
            ledger->floor_changed[at] = true;
            ledger->floors = at < ledger->floors ? ledger->floors : at + 1;
            return at;
        }
    }
    return REST;
}

/* A shared floor has the buckets of the longest of its windows. */
static void floor_raise(struct ledger *ledger, size_t at, const struct window *by, int64_t now)
{
    struct window *floor = &ledger->floor[at];
    uint32_t seconds = by->seconds;
    if (floor->seconds > seconds && !floor_is_empty(floor, now)) {
        seconds = floor->seconds;
    }
    struct window raised = window_as(floor, seconds, now);
    struct window other = window_as(by, seconds, now);
    if (window_raise(&raised, &other) || floor->seconds != seconds) {
        *floor = raised;
        ledger->floor_changed[at] = true;
    }
}

/* ---- the table ---- */

static struct entry *entry_at(const struct ledger *ledger, size_t place)
{
    return &ledger->chunks[place / CHUNK][place % CHUNK];
}

static uint64_t hash_of(const struct ledger_key *key)
{
    return key->hash != 0 ? key->hash : 1; /* 0 stands for no key in a row of the snapshot */
}

static size_t index_home(const struct ledger *ledger, uint64_t hash)
{
    return (size_t)(((hash ^ ledger->seed) * UINT64_C(0x9e3779b97f4a7c15)) >> ledger->index_shift);
}

/* The place of a key, or NONE. */
static size_t place_find(const struct ledger *ledger, uint64_t hash)
{
    for (size_t at = index_home(ledger, hash); ledger->index[at] != 0;
         at = (at + 1) & ledger->index_mask) {
        size_t place = ledger->index[at] - 1;
        if (entry_at(ledger, place)->hash == hash) {
            return place;
        }
    }
    return NONE;
}

static void index_put(struct ledger *ledger, uint64_t hash, size_t place)
{
    size_t at = index_home(ledger, hash);
    while (ledger->index[at] != 0) {
        at = (at + 1) & ledger->index_mask;
    }
    ledger->index[at] = (uint32_t)place + 1;
}

/* Takes a place out of the index and moves up what had stepped aside for it. */
static void index_remove(struct ledger *ledger, size_t place)
{
    size_t mask = ledger->index_mask;
    size_t hole = index_home(ledger, entry_at(ledger, place)->hash);
    while (ledger->index[hole] != place + 1) {
        hole = (hole + 1) & mask;
    }
    for (size_t at = (hole + 1) & mask; ledger->index[at] != 0; at = (at + 1) & mask) {
        size_t home = index_home(ledger, entry_at(ledger, ledger->index[at] - 1)->hash);
        if (((at - home) & mask) >= ((at - hole) & mask)) {
            ledger->index[hole] = ledger->index[at];
            hole = at;
        }
    }
    ledger->index[hole] = 0;
}

static void place_changed(struct ledger *ledger, size_t place)
{
    ledger->changed[place / 64] |= UINT64_C(1) << (place % 64);
}

static uint64_t random_next(struct ledger *ledger)
{
    ledger->random ^= ledger->random << 13;
    ledger->random ^= ledger->random >> 7;
    ledger->random ^= ledger->random << 17;
    return ledger->random;
}

/* Forgets a key that has run out, or else the one of a few that is least near its limit. */
static size_t place_forget(struct ledger *ledger, int64_t now)
{
    size_t look = (size_t)(random_next(ledger) % ledger->used);
    size_t least = look;
    uint64_t least_count = 0;
    double least_part = 0;
    for (int i = 0; i < LOOK; i++, look = look + 1 < ledger->used ? look + 1 : 0) {
        const struct window *window = &entry_at(ledger, look)->window;
        uint64_t count = window_count(window, now);
        double part = (double)count / (window->allowed > 0 ? window->allowed : 1);
        if (i == 0 || count == 0 || part < least_part) {
            least = look;
            least_count = count;
            least_part = part;
        }
        if (count == 0) {
            break;
        }
    }
    const struct entry *entry = entry_at(ledger, least);
    if (least_count > 0) {
        size_t floor = floor_take(ledger, entry->group, entry->window.seconds, now);
        floor_raise(ledger, floor, &entry->window, now);
    }
    index_remove(ledger, least);
    return least;
}

/* A place for a newcomer: a new one while there may be more, or that of a key that is forgotten. */
static size_t place_take(struct ledger *ledger, int64_t now)
{
    if (ledger->used < ledger->keys_most) {
        size_t chunk = ledger->used / CHUNK, first = chunk * CHUNK;
        if (ledger->chunks[chunk] == NULL) {
            size_t count = ledger->keys_most - first;
            count = count < CHUNK ? count : CHUNK;
            ledger->chunks[chunk] = malloc(count * sizeof **ledger->chunks);
        }
        if (ledger->chunks[chunk] != NULL) {
            return ledger->used++;
        }
    }
    return place_forget(ledger, now);
}

static size_t place_put(struct ledger *ledger, const struct entry *entry, int64_t now)
{
    size_t place = place_take(ledger, now);
    *entry_at(ledger, place) = *entry;
    index_put(ledger, entry->hash, place);
    place_changed(ledger, place);
    return place;
}

/* Has the key seen this record before? Several changes by one record are all new. */
static bool is_seen(const struct entry *entry, uint64_t record)
{
    return record != 0 && record * 2 < entry->seen;
}

static void saw(struct entry *entry, uint64_t record)
{
    if (record * 2 > entry->seen) {
        entry->seen = record * 2;
    }
}

/* ---- what the header says ---- */

void ledger_subject(const char *text, char to[LEDGER_SUBJECT])
{
    printable_shorten(to, LEDGER_SUBJECT, text != NULL ? text : "");
}

struct ledger *ledger_new(size_t keys_most, uint64_t seed)
{
    struct ledger *ledger = calloc(1, sizeof *ledger);
    bool done = false;
    if (ledger == NULL) {
        goto out;
    }
    keys_most = keys_most < KEYS_LEAST ? KEYS_LEAST : keys_most;
    keys_most = keys_most > KEYS_MOST ? KEYS_MOST : keys_most;
    unsigned bits = 1;
    while (((size_t)1 << bits) < 2 * keys_most) {
        bits++;
    }
    ledger->keys_most = keys_most;
    ledger->seed = seed;
    ledger->random = (seed ^ UINT64_C(0x2545f4914f6cdd1d)) | 1;
    ledger->index_shift = 64 - bits;
    ledger->index_mask = ((size_t)1 << bits) - 1;
    ledger->chunk_count = (keys_most + CHUNK - 1) / CHUNK;
    /* as large as they will ever be, so that nothing is ever moved: pages nobody has touched cost
     * nothing */
    ledger->index = calloc((size_t)1 << bits, sizeof *ledger->index);
    ledger->changed = calloc(keys_most / 64 + 1, sizeof *ledger->changed);
    ledger->chunks = calloc(ledger->chunk_count, sizeof *ledger->chunks);
    if (ledger->index == NULL || ledger->changed == NULL || ledger->chunks == NULL) {
        goto out;
    }
    /* the first, so that there is always a key to be replaced */
    ledger->chunks[0] = malloc((keys_most < CHUNK ? keys_most : CHUNK) * sizeof **ledger->chunks);
    done = ledger->chunks[0] != NULL;
out:
    if (!done) {
        ledger_free(ledger);
        ledger = NULL;
    }
    return ledger;
}

void ledger_free(struct ledger *ledger)
{
    if (ledger == NULL) {
        return;
    }
    for (size_t i = 0; ledger->chunks != NULL && i < ledger->chunk_count; i++) {
        free(ledger->chunks[i]);
    }
    free(ledger->chunks);
    free(ledger->changed);
    free(ledger->index);
    free(ledger);
}

uint64_t ledger_count(const struct ledger *ledger, const struct ledger_key *key, int64_t now)
{
    size_t place = place_find(ledger, hash_of(key));
    now = clean_time(now);
    if (place != NONE) {
        return window_count(&entry_at(ledger, place)->window, now);
    }
    struct window window = floor_window(ledger, key, now);
    return window_count(&window, now);
}

int64_t ledger_wait(const struct ledger *ledger, const struct ledger_key *key, uint64_t most,
                    int64_t now)
{
    size_t place = place_find(ledger, hash_of(key));
    now = clean_time(now);
    struct window window =
        place != NONE ? entry_at(ledger, place)->window : floor_window(ledger, key, now);
    uint64_t sum = 0;
    window_advance(&window, now / ledger_width(window.seconds));
    for (int i = 0; i < LEDGER_BUCKETS; i++) {
        sum += window.count[i];
        if (sum > most) { /* until this bucket is out */
            return (window.bucket - i + LEDGER_BUCKETS) * ledger_width(window.seconds) - now;
        }
    }
    return 0;
}

void ledger_charge(struct ledger *ledger, const struct ledger_key *key, const char *subject,
                   uint64_t allowed, uint32_t amount, int64_t at, int64_t now, uint64_t record)
{
    size_t place = place_find(ledger, hash_of(key));
    now = clean_time(now);
    at = clean_time(at < now ? at : now);
    if (place == NONE) {
        struct entry entry = {.hash = hash_of(key), .group = key->group, .since = at};
        entry.window = floor_window(ledger, key, now);
        int64_t width = ledger_width(entry.window.seconds);
        if (now / width - at / width >= LEDGER_BUCKETS) {
            return;
        }
        ledger_subject(subject, entry.subject);
        place = place_put(ledger, &entry, now);
    }
    struct entry *entry = entry_at(ledger, place);
    if (is_seen(entry, record)) {
        return;
    }
    saw(entry, record);
    int64_t width = ledger_width(entry->window.seconds);
    window_advance(&entry->window, now / width);
    int64_t age = entry->window.bucket - at / width;
    if (age < LEDGER_BUCKETS) {
        entry->window.count[age] = add(entry->window.count[age], amount);
    }
    entry->window.allowed = allowed < UINT32_MAX ? (uint32_t)allowed : UINT32_MAX;
    place_changed(ledger, place);
}

void ledger_refund(struct ledger *ledger, const struct ledger_key *key, uint32_t amount, int64_t at,
                   int64_t now, uint64_t record)
{
    size_t place = place_find(ledger, hash_of(key));
    struct entry *entry = place != NONE ? entry_at(ledger, place) : NULL;
    if (entry == NULL || is_seen(entry, record)) {
        return;
    }
    saw(entry, record);
    place_changed(ledger, place);
    now = clean_time(now);
    at = clean_time(at < now ? at : now);
    int64_t age = entry->window.bucket - at / ledger_width(entry->window.seconds);
    if (age < 0 || age >= LEDGER_BUCKETS || at < entry->since) {
        return;
    }
    uint32_t *count = &entry->window.count[age];
    if (*count < UINT32_MAX) { /* of a count that is full nobody knows what it would be */
        *count = *count > amount ? *count - amount : 0;
    }
}

void ledger_reset(struct ledger *ledger, const struct ledger_key *key, const char *subject,
                  int64_t now, uint64_t record)
{
    size_t place = place_find(ledger, hash_of(key));
    now = clean_time(now);
    if (place == NONE) {
        struct entry entry = {.hash = hash_of(key), .group = key->group};
        entry.window.seconds = clean_seconds(key->seconds);
        ledger_subject(subject, entry.subject);
        place = place_put(ledger, &entry, now);
    }
    struct entry *entry = entry_at(ledger, place);
    if (is_seen(entry, record)) {
        return;
    }
    saw(entry, record);
    memset(entry->window.count, 0, sizeof entry->window.count);
    entry->window.bucket = now / ledger_width(entry->window.seconds);
    entry->since = now + 1;
    place_changed(ledger, place);
}

/* ---- the snapshot ---- */

static struct ledger_row row_of(int64_t place, const struct window *window)
{
    struct ledger_row row = {.place = place,
                             .allowed = window->allowed,
                             .bucket = window->bucket,
                             .seconds = window->seconds};
    memcpy(row.count, window->count, sizeof row.count);
    return row;
}

/* The first place from this one on that has changed, or the number of places. */
static size_t next_changed(const struct ledger *ledger, size_t place)
{
    while (place < ledger->used) {
        uint64_t bits = ledger->changed[place / 64] >> (place % 64);
        if (bits != 0) {
            place += (size_t)__builtin_ctzll(bits);
            break;
        }
        place = (place / 64 + 1) * 64;
    }
    return place < ledger->used ? place : ledger->used;
}

size_t ledger_changed(struct ledger *ledger, struct ledger_row *rows, size_t room, size_t *cursor)
{
    size_t copied = 0;
    size_t place = next_changed(ledger, *cursor);
    if (*cursor > 0 && place == ledger->used && ledger->on_disk <= ledger->used) {
        return 0; /* floors that changed meanwhile wait for the next round, so that this one ends */
    }
    for (size_t i = 0; i <= REST && copied < room; i++) {
        if (ledger->floor_changed[i]) {
            rows[copied] = row_of(-1 - (int64_t)i, &ledger->floor[i]);
            rows[copied++].group = i < REST ? ledger->group[i] : 0;
            ledger->floor_changed[i] = false;
        }
    }
    while (copied < room && place < ledger->used) {
        const struct entry *entry = entry_at(ledger, place);
        struct ledger_row *row = &rows[copied++];
        *row = row_of((int64_t)place, &entry->window);
        row->hash = entry->hash;
        row->group = entry->group;
        row->record = entry->seen / 2;
        row->since = entry->since;
        memcpy(row->subject, entry->subject, sizeof row->subject);
        ledger->changed[place / 64] &= ~(UINT64_C(1) << (place % 64));
        place = next_changed(ledger, place + 1);
    }
    *cursor = place;
    /* last, when all keys that were there stand elsewhere */
    while (copied < room && place == ledger->used && ledger->on_disk > ledger->used) {
        rows[copied++] = (struct ledger_row){.place = (int64_t)--ledger->on_disk};
    }
    return copied;
}

void ledger_touch(struct ledger *ledger)
{
    for (size_t place = 0; place < ledger->used; place++) {
        place_changed(ledger, place);
    }
    for (size_t i = 0; i <= REST; i++) {
        ledger->floor_changed[i] = ledger->floor[i].seconds != 0;
    }
    ledger->on_disk = 0;
}

static void restore_floor(struct ledger *ledger, const struct ledger_row *row,
                          const struct window *window, int64_t now)
{
    size_t at = (size_t)(-1 - row->place);
    if (at == REST || ledger->floor[at].seconds != 0 || floor_find(ledger, row->group) != NONE) {
        at = at == REST ? REST : floor_take(ledger, row->group, row->seconds, now);
        floor_raise(ledger, at, window, now);
        return;
    }
    ledger->group[at] = row->group;
    ledger->floor[at] = *window;
    ledger->floor_changed[at] = window->bucket != row->bucket;
    ledger->floors = at < ledger->floors ? ledger->floors : at + 1;
}

bool ledger_restore(struct ledger *ledger, const struct ledger_row *row, int64_t now)
{
    if (row->place >= 0 && (uint64_t)row->place < KEYS_MOST &&
        (size_t)row->place >= ledger->on_disk) {
        ledger->on_disk = (size_t)row->place + 1;
    }
    if (row->seconds < 1 || row->seconds > SECONDS_MOST || row->bucket < 0 ||
        row->record > UINT64_MAX / 4 || row->place < -1 - REST ||
        (row->place >= 0 && row->hash == 0)) {
        return false;
    }
    struct window window = {.bucket = row->bucket,
                            .seconds = row->seconds,
                            .allowed =
                                row->allowed < UINT32_MAX ? (uint32_t)row->allowed : UINT32_MAX};
    memcpy(window.count, row->count, sizeof window.count);
    now = clean_time(now);
    int64_t newest = now / ledger_width(row->seconds);
    if (window.bucket > newest) { /* nothing stays for longer than if it came just now */
        window.bucket = newest;
    }
    if (row->place < 0) {
        restore_floor(ledger, row, &window, now);
        return true;
    }
    struct entry entry = {.hash = row->hash,
                          .group = row->group,
                          .seen = row->record * 2 + 1,
                          .since = clean_time(row->since),
                          .window = window};
    memcpy(entry.subject, row->subject, sizeof entry.subject - 1);
    size_t place = place_find(ledger, row->hash);
    if (place == NONE) {
        place = place_put(ledger, &entry, now);
        if ((int64_t)place == row->place && window.bucket == row->bucket) {
            ledger->changed[place / 64] &= ~(UINT64_C(1) << (place % 64));
        }
        return true;
    }
    struct entry *there = entry_at(ledger, place);
    if (entry.seen > there->seen) {
        *there = entry;
    } else if (entry.seen == there->seen) {
        struct window other = window_as(&window, there->window.seconds, now);
        window = there->window;
        there->window = window_as(&window, window.seconds, now);
        there->window.allowed = window.allowed;
        window_raise(&there->window, &other);
        there->since = there->since > entry.since ? there->since : entry.since;
    }
    place_changed(ledger, place);
    return true;
}

size_t ledger_keys(const struct ledger *ledger)
{
    return ledger->used;
}

size_t ledger_size(const struct ledger *ledger)
{
    size_t chunks = 0;
    while (chunks < ledger->chunk_count && ledger->chunks[chunks] != NULL) {
        chunks++;
    }
    size_t places = chunks * CHUNK < ledger->keys_most ? chunks * CHUNK : ledger->keys_most;
    return sizeof *ledger + (ledger->index_mask + 1) * sizeof *ledger->index +
           (ledger->keys_most / 64 + 1) * sizeof *ledger->changed +
           ledger->chunk_count * sizeof *ledger->chunks + places * sizeof **ledger->chunks;
}
