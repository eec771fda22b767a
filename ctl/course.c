/* The recorded decisions in their order, each with the message it belonged to. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "course.h"

#include <stdlib.h>
#include <string.h>

enum { PLACES = 4 * COURSE_AHEAD }; /* twice what stands in two pieces */

/* Texts are copied behind each other, each ended by NUL. */
struct kept {
    struct course_step step;
    char at[32];
    char *texts; /* owned */
};

struct piece {
    size_t count;
    struct kept list[COURSE_AHEAD];
};

struct course {
    struct statedb *db;
    const struct statedb_filter *asked;
    bool all_fit; /* nothing but times is asked for */
    int64_t from;
    uint64_t above, last; /* numbers: read up to here, to be read */
    struct piece *piece[2];
    unsigned current; /* the piece that is told, from here on: */
    size_t at;
    struct kept *place[PLACES];       /* by session, the latest that was read */
    unsigned unused[COURSE_MESSAGES]; /* numbers for messages */
    size_t unused_count;
    bool no_memory;
};

/* -- keeping ---------------------------------------------------------------------------------- */

static bool keep_texts(struct kept *kept)
{
    struct decision *decision = &kept->step.stored.decision;
    struct text *texts[DECISION_TEXTS];
    size_t size = 0, used = 0;

    decision_texts(decision, texts);
    for (size_t i = 0; i < DECISION_TEXTS; i++) {
        size += texts[i]->size + 1;
    }
    kept->texts = malloc(size);
    if (kept->texts == NULL) {
        return false;
    }
    for (size_t i = 0; i < DECISION_TEXTS; i++) {
        if (texts[i]->size > 0) {
            memcpy(kept->texts + used, texts[i]->bytes, texts[i]->size);
        }
        kept->texts[used + texts[i]->size] = '\0';
        texts[i]->bytes = kept->texts + used;
        used += texts[i]->size + 1;
    }
    return true;
}

static void empty(struct piece *piece)
{
    for (size_t i = 0; i < piece->count; i++) {
        free(piece->list[i].texts);
    }
    piece->count = 0;
}

/* -- messages --------------------------------------------------------------------------------- */

static bool same(const struct text *one, const struct text *other)
{
    return one->size == other->size && memcmp(one->bytes, other->bytes, one->size) == 0;
}

static bool is_same_message(const struct kept *earlier, const struct kept *later)
{
    const struct decision *a = &earlier->step.stored.decision, *b = &later->step.stored.decision;

    return same(&a->sender.text, &b->sender.text) && same(&a->login.text, &b->login.text) &&
           same(&a->queue, &b->queue) && a->outcome == b->outcome &&
           (a->post == POST_DOOR || a->queue.size > 0 || earlier->step.let_through);
}

/* The place of its session: where the latest of it stands, or an empty one. */
static struct kept **place_of(struct course *course, const struct kept *kept)
{
    const struct decision *decision = &kept->step.stored.decision;
    uint64_t hash = UINT64_C(0xcbf29ce484222325) + decision->post;

    for (size_t i = 0; i < decision->session.size; i++) { /* FNV-1a */
        hash = (hash ^ (unsigned char)decision->session.bytes[i]) * UINT64_C(0x100000001b3);
    }
    for (size_t i = (size_t)(hash >> 20) % PLACES;; i = (i + 1) % PLACES) {
        const struct kept *there = course->place[i];
        if (there == NULL || (there->step.stored.decision.post == decision->post &&
                              same(&there->step.stored.decision.session, &decision->session))) {
            return &course->place[i];
        }
    }
}

static void find_message(struct course *course, struct kept *kept)
{
    const struct decision *decision = &kept->step.stored.decision;
    struct kept **place = decision->session.size > 0 ? place_of(course, kept) : NULL;

    kept->step.let_through = decision->verdict.action == ACTION_PASS && !decision->mta_refused;
    kept->step.last = true;
    if (place != NULL && *place != NULL && is_same_message(*place, kept)) {
        (*place)->step.last = false;
        kept->step.message = (*place)->step.message;
        kept->step.let_through = kept->step.let_through || (*place)->step.let_through;
    } else {
        kept->step.message = course->unused[--course->unused_count];
    }
    if (place != NULL) {
        *place = kept;
    }
}

/* -- reading ---------------------------------------------------------------------------------- */

static bool take(void *context, const struct statedb_decision *stored)
{
    struct course *course = context;
    struct piece *piece = course->piece[!course->current];
    const struct decision *decision = &stored->decision;

    course->above = decision->number;
    if (decision->wall < course->from || decision->wall >= course->asked->until) {
        return true; /* the clock was set */
    }
    struct kept *kept = &piece->list[piece->count];
    memset(&kept->step, 0, sizeof kept->step);
    kept->step.stored = *stored;
    snprintf(kept->at, sizeof kept->at, "%s", stored->at);
    kept->step.stored.at = kept->at;
    kept->step.fits = course->all_fit && decision->wall >= course->asked->since;
    if (!keep_texts(kept)) {
        course->no_memory = true;
        return false;
    }
    find_message(course, kept);
    piece->count++;
    return piece->count < COURSE_AHEAD;
}

/* Those of the piece that is read which the filter lets through, in the same order. */
struct marking {
    struct piece *piece;
    size_t at;
};

static bool mark(void *context, const struct statedb_decision *stored)
{
    struct marking *marking = context;
    struct piece *piece = marking->piece;

    while (marking->at < piece->count &&
           piece->list[marking->at].step.stored.decision.number < stored->decision.number) {
        marking->at++;
    }
    if (marking->at < piece->count &&
        piece->list[marking->at].step.stored.decision.number == stored->decision.number) {
        piece->list[marking->at].step.fits = true;
    }
    return marking->at < piece->count;
}

/* Reads the piece behind the current one. */
static enum status read_piece(struct course *course, struct why *why)
{
    struct piece *current = course->piece[course->current];
    struct piece *piece = course->piece[!course->current];
    struct statedb_filter filter = {.above = course->above, .upto = course->last};
    uint64_t before = course->above;
    struct marking marking = {piece, 0};

    memset(course->place, 0, sizeof course->place);
    for (size_t i = 0; i < current->count; i++) {
        if (current->list[i].step.stored.decision.session.size > 0) {
            *place_of(course, &current->list[i]) = &current->list[i];
        }
    }
    if (course->above >= course->last) {
        return STATUS_OK;
    }
    enum status status = statedb_decisions(course->db, &filter, take, course, why);
    if (course->no_memory) {
        return why_set(why, STATUS_BROKEN, "no memory for the decisions");
    }
    if (status == STATUS_OK && !course->all_fit && piece->count > 0) {
        struct statedb_filter asked = *course->asked;
        asked.above = before;
        asked.upto = course->above;
        asked.since = asked.until = 0; /* to ask for them would look at all there are */
        status = statedb_decisions(course->db, &asked, mark, &marking, why);
        for (size_t i = 0; i < piece->count; i++) {
            struct course_step *step = &piece->list[i].step;
            step->fits = step->fits && step->stored.decision.wall >= course->asked->since;
        }
    }
    if (piece->count < COURSE_AHEAD) {
        course->above = course->last; /* that was all */
    }
    return status;
}

static bool take_number(void *context, const struct statedb_decision *stored)
{
    *(uint64_t *)context = stored->decision.number;
    return false;
}

enum status course_open(struct statedb *db, const struct statedb_filter *asked, int64_t from,
                        struct course **opened, struct why *why)
{
    struct course *course = calloc(1, sizeof *course);
    struct statedb_filter filter = {.since = from, .until = asked->until, .most = 1};
    uint64_t first = 0;

    *opened = NULL;
    if (course != NULL) {
        course->piece[0] = calloc(1, sizeof *course->piece[0]);
        course->piece[1] = calloc(1, sizeof *course->piece[1]);
    }
    if (course == NULL || course->piece[0] == NULL || course->piece[1] == NULL) {
        course_close(course);
        return why_set(why, STATUS_BROKEN, "no memory for the decisions");
    }
    course->db = db;
    course->asked = asked;
    course->from = from;
    course->all_fit = asked->client == NULL && asked->login == NULL && asked->sender == NULL &&
                      asked->recipient == NULL && asked->reason == NULL && asked->action == NULL &&
                      asked->number == 0;
    while (course->unused_count < COURSE_MESSAGES) {
        course->unused[course->unused_count] = (unsigned)course->unused_count;
        course->unused_count++;
    }
    enum status status = statedb_decisions(db, &filter, take_number, &first, why);
    filter.newest_first = true;
    if (status == STATUS_OK) {
        status = statedb_decisions(db, &filter, take_number, &course->last, why);
    }
    course->above = first > 0 ? first - 1 : course->last;
    for (int i = 0; i < 2 && status == STATUS_OK; i++) {
        status = read_piece(course, why);
        course->current = i == 0 ? !course->current : course->current;
    }
    if (status != STATUS_OK) {
        course_close(course);
        return status;
    }
    *opened = course;
    return STATUS_OK;
}

void course_close(struct course *course)
{
    if (course != NULL) {
        for (int i = 0; i < 2; i++) {
            if (course->piece[i] != NULL) {
                empty(course->piece[i]);
                free(course->piece[i]);
            }
        }
        free(course);
    }
}

enum status course_next(struct course *course, const struct course_step **step, struct why *why)
{
    struct piece *piece = course->piece[course->current];
    enum status status;

    *step = NULL;
    if (course->at == piece->count) {
        empty(piece);
        course->current = !course->current;
        course->at = 0;
        status = read_piece(course, why);
        piece = course->piece[course->current];
        if (status != STATUS_OK || piece->count == 0) {
            return status;
        }
    }
    struct course_step *next = &piece->list[course->at++].step;
    if (next->last) {
        course->unused[course->unused_count++] = next->message;
    }
    *step = next;
    return STATUS_OK;
}
