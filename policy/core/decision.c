/* One decision as octets and back: one table of fields says both ways. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "core/decision.h"

#include <string.h>

#include "core/octets.h"

/* A record is {version, kind}, the fields that its kind has, in the table's order, and nothing
 * behind them. A text is {length u16, octets, NUL}, of a kept one its whole length (u32) stands
 * before; a list is {count u16, items}. */
enum { VERSION = 2, CHARGE_OCTETS = 41, SECONDS_MOST = 31536000 };

enum form { FORM_ENUM, FORM_FLAG, FORM_U32, FORM_U64, FORM_IP, FORM_TEXT, FORM_KEPT };

enum {
    OF_DECISION = 1 << RECORD_DECISION,
    OF_END = 1 << RECORD_END,
    OF_RESET = 1 << RECORD_RESET,
    OF_ALL = OF_DECISION | OF_END | OF_RESET
};

struct field {
    unsigned char of, form;
    unsigned short most; /* an enum is below it; of a text so many octets are kept */
    size_t at;
};

#define FIELD(of, form, most, member)                                                              \
    {                                                                                              \
        (of), (form), (most), offsetof(struct decision, member)                                    \
    }
#define ENUM(member, last) FIELD(OF_DECISION, FORM_ENUM, (last) + 1, member)
#define FLAG(member) FIELD(OF_DECISION, FORM_FLAG, 2, member)
#define U64(member) FIELD(OF_DECISION, FORM_U64, 0, member)
#define KEPT(member) FIELD(OF_DECISION, FORM_KEPT, DECISION_TEXT, member)
#define TEXT(member, most) FIELD(OF_DECISION, FORM_TEXT, most, member)

static const struct field field_table[] = {
    FIELD(OF_ALL, FORM_U64, 0, wall),
    FIELD(OF_ALL, FORM_U64, 0, steady),
    U64(number),
    U64(generation),
    ENUM(post, POST_DOOR),
    FLAG(client_known),
    FLAG(listener_known),
    FLAG(submission),
    FLAG(not_for_mta),
    FLAG(mta_refused),
    FIELD(OF_DECISION, FORM_IP, 0, client),
    FIELD(OF_DECISION, FORM_IP, 0, listener),
    KEPT(client_name),
    KEPT(helo),
    KEPT(host),
    KEPT(login),
    KEPT(sender),
    KEPT(recipient),
    TEXT(session, DECISION_ID),
    TEXT(row_text, DECISION_ROW_TEXT),
    TEXT(observed_row_text, DECISION_ROW_TEXT),
    TEXT(subject[SUBJECT_CLIENT], DECISION_SUBJECT),
    TEXT(subject[SUBJECT_IDENTITY], DECISION_SUBJECT),
    TEXT(subject[SUBJECT_SENDER], DECISION_SUBJECT),
    TEXT(subject[SUBJECT_EVERYONE], DECISION_SUBJECT),
    TEXT(subject[SUBJECT_WINDOW], DECISION_SUBJECT),
    ENUM(verdict.action, ACTION_DEFER),
    ENUM(verdict.reason, REASON_COUNT - 1),
    ENUM(verdict.check, CHECK_NONE),
    ENUM(verdict.rule.table, TABLE_COUNT - 1),
    U64(verdict.rule.row),
    ENUM(verdict.kind, KIND_SUBMISSION),
    FLAG(verdict.recipient_local),
    FLAG(verdict.observed),
    ENUM(verdict.observed_reason, REASON_COUNT - 1),
    ENUM(verdict.observed_rule.table, TABLE_COUNT - 1),
    U64(verdict.observed_rule.row),
    ENUM(verdict.limit.rule.table, TABLE_COUNT - 1),
    U64(verdict.limit.rule.row),
    ENUM(verdict.limit.subject, SUBJECT_COUNT - 1),
    ENUM(verdict.limit.counts, COUNTS_REFUSALS),
    U64(verdict.limit.count),
    U64(verdict.limit.allowed),
    U64(verdict.limit.seconds),
    U64(verdict.limit.wait),
    FLAG(blocks),
    U64(block_until_steady),
    U64(block_until),
    FIELD(OF_DECISION, FORM_U32, 0, block_strikes),
    TEXT(block_subject, DECISION_SUBJECT),
    FIELD(OF_END, FORM_ENUM, OUTCOME_ABORTED + 1, outcome),
    FIELD(OF_DECISION | OF_END, FORM_TEXT, DECISION_ID, queue),
    FIELD(OF_RESET, FORM_TEXT, DECISION_SUBJECT, lifted),
};

enum { OF_NUMBERS = OF_END, OF_CHARGES = OF_DECISION | OF_END | OF_RESET };

/* Every enum of the table is read and written as an unsigned int. */
_Static_assert(sizeof(enum post) == sizeof(unsigned) && sizeof(enum reason) == sizeof(unsigned) &&
                   sizeof(enum outcome) == sizeof(unsigned) &&
                   sizeof(enum table) == sizeof(unsigned),
               "an enum is as wide as an int");

/* -- writing: the caller's bounds are DECISION_RECORD, which the longest record fits ----------- */

static inline unsigned char *put(unsigned char *at, size_t count, uint64_t value)
{
    octets_put(at, count, value);
    return at + count;
}

static unsigned char *put_text(unsigned char *at, const struct text *text, size_t most)
{
    size_t size = text->size < most ? text->size : most;

    at = put(at, 2, size);
    if (size > 0) {
        memcpy(at, text->bytes, size);
    }
    return put(at + size, 1, 0);
}

/* NULL: a value that is none of its enum's. */
static unsigned char *put_field(unsigned char *at, const struct field *field,
                                const unsigned char *from)
{
    switch ((enum form)field->form) {
    case FORM_ENUM: {
        unsigned value;

        memcpy(&value, from, sizeof value);
        return value < field->most ? put(at, 1, value) : NULL;
    }
    case FORM_FLAG: {
        bool value;

        memcpy(&value, from, sizeof value);
        return put(at, 1, value);
    }
    case FORM_U32: {
        uint32_t value;

        memcpy(&value, from, sizeof value);
        return put(at, 4, value);
    }
    case FORM_U64: {
        uint64_t value;

        memcpy(&value, from, sizeof value);
        return put(at, 8, value);
    }
    case FORM_IP:
        memcpy(at, from, sizeof(struct ip));
        return at + sizeof(struct ip);
    case FORM_TEXT: {
        struct text text;

        memcpy(&text, from, sizeof text);
        return put_text(at, &text, field->most);
    }
    case FORM_KEPT: {
        struct kept_text kept;

        memcpy(&kept, from, sizeof kept);
        size_t whole = kept.text.size;
        if (whole >= field->most && kept.whole > whole) {
            whole = kept.whole; /* it had been cut before */
        }
        at = put(at, 4, whole < UINT32_MAX ? whole : UINT32_MAX);
        return put_text(at, &kept.text, field->most);
    }
    }
    return NULL;
}

static bool charge_sound(const struct charge *charge)
{
    return charge->seconds >= 1 && charge->seconds <= SECONDS_MOST &&
           charge->subject < SUBJECT_COUNT;
}

static struct kept_text kept(struct text text, size_t most)
{
    return (struct kept_text){{text.bytes, text.size < most ? text.size : most},
                              text.size < UINT32_MAX ? (uint32_t)text.size : UINT32_MAX};
}

void decision_begin(struct decision *decision, const struct facts *facts, size_t most)
{
    memset(decision, 0, sizeof *decision);
    decision->kind = RECORD_DECISION;
    decision->post = facts->post;
    decision->client_known = facts->client_known;
    decision->listener_known = facts->listener_known;
    decision->submission = facts->submission;
    decision->not_for_mta = facts->not_for_mta;
    decision->client = facts->client;
    decision->listener = facts->listener;
    decision->client_name = kept(facts->client_name, most);
    decision->helo = kept(facts->helo, most);
    decision->host = kept(facts->host, most);
    decision->login = kept(facts->login, most);
    decision->sender = kept(facts->sender, most);
    decision->recipient = kept(facts->recipient, most);
}

void decision_facts(const struct decision *decision, struct facts *facts)
{
    memset(facts, 0, sizeof *facts);
    facts->post = decision->post;
    facts->client_known = decision->client_known;
    facts->client = decision->client;
    facts->submission = decision->submission;
    facts->not_for_mta = decision->not_for_mta;
    facts->listener_known = decision->listener_known;
    facts->listener = decision->listener;
    facts->client_name = decision->client_name.text;
    facts->helo = decision->helo.text;
    facts->host = decision->host.text;
    facts->login = decision->login.text;
    facts->sender = decision->sender.text;
    facts->recipient = decision->recipient.text;
}

void decision_texts(struct decision *decision, struct text *texts[DECISION_TEXTS])
{
    struct text *const all[] = {
        &decision->client_name.text, &decision->helo.text,   &decision->host.text,
        &decision->login.text,       &decision->sender.text, &decision->recipient.text,
        &decision->session,          &decision->row_text,    &decision->observed_row_text,
        &decision->block_subject,    &decision->queue,
    };
    size_t count = sizeof all / sizeof all[0];

    memcpy(texts, all, sizeof all);
    for (unsigned s = 0; s < SUBJECT_COUNT; s++) {
        texts[count + s] = &decision->subject[s];
    }
}

size_t decision_write(const struct decision *decision, unsigned char to[DECISION_RECORD])
{
    const unsigned char *base = (const unsigned char *)decision;
    unsigned char *at = to;
    unsigned of;

    if ((unsigned)decision->kind > RECORD_RESET) {
        return 0;
    }
    of = 1U << decision->kind;
    at = put(at, 1, VERSION);
    at = put(at, 1, decision->kind);
    for (size_t i = 0; i < sizeof field_table / sizeof *field_table; i++) {
        const struct field *field = &field_table[i];

        if ((field->of & of) != 0) {
            at = put_field(at, field, base + field->at);
            if (at == NULL) {
                return 0;
            }
        }
    }
    if ((of & OF_NUMBERS) != 0) {
        if (decision->numbers > DECISION_NUMBERS) {
            return 0;
        }
        at = put(at, 2, decision->numbers);
        for (size_t i = 0; i < decision->numbers; i++) {
            at = put(at, 8, decision->number_list[i]);
        }
    }
    if ((of & OF_CHARGES) != 0) {
        if (decision->charges > DECISION_CHARGES) {
            return 0;
        }
        at = put(at, 2, decision->charges);
        for (size_t i = 0; i < decision->charges; i++) {
            const struct charge *charge = &decision->charge_list[i];

            if (!charge_sound(charge)) {
                return 0;
            }
            at = put(at, 8, charge->hash);
            at = put(at, 8, charge->group);
            at = put(at, 8, (uint64_t)charge->at);
            at = put(at, 8, charge->allowed);
            at = put(at, 4, charge->seconds);
            at = put(at, 4, charge->amount);
            at = put(at, 1, charge->subject);
        }
    }
    return (size_t)(at - to);
}

/* -- reading: any octets ----------------------------------------------------------------------- */

struct source {
    const unsigned char *at;
    size_t left;
    bool bad; /* stays so; what is got after it is 0 */
};

static inline const unsigned char *take(struct source *source, size_t count)
{
    const unsigned char *at = source->at;

    if (source->bad || source->left < count) {
        source->bad = true;
        return NULL;
    }
    source->at += count;
    source->left -= count;
    return at;
}

static inline uint64_t get(struct source *source, size_t count)
{
    const unsigned char *at = take(source, count);

    return at != NULL ? octets_get(at, count) : 0;
}

/* A number that is below `limit`. */
static inline unsigned get_below(struct source *source, size_t count, unsigned limit)
{
    uint64_t value = get(source, count);

    if (value >= limit) {
        source->bad = true;
        value = 0;
    }
    return (unsigned)value;
}

static struct text get_text(struct source *source, size_t most)
{
    struct text text = {"", 0};
    size_t size = get_below(source, 2, (unsigned)most + 1);
    const unsigned char *at = take(source, size + 1);

    if (at != NULL && at[size] != '\0') {
        source->bad = true;
    } else if (at != NULL) {
        text = (struct text){(const char *)at, size};
    }
    return text;
}

static void get_field(struct source *source, const struct field *field, unsigned char *to)
{
    switch ((enum form)field->form) {
    case FORM_ENUM: {
        unsigned value = get_below(source, 1, field->most);

        memcpy(to, &value, sizeof value);
        break;
    }
    case FORM_FLAG: {
        bool value = get_below(source, 1, 2) != 0;

        memcpy(to, &value, sizeof value);
        break;
    }
    case FORM_U32: {
        uint32_t value = (uint32_t)get(source, 4);

        memcpy(to, &value, sizeof value);
        break;
    }
    case FORM_U64: {
        uint64_t value = get(source, 8);

        memcpy(to, &value, sizeof value);
        break;
    }
    case FORM_IP: {
        const unsigned char *at = take(source, sizeof(struct ip));

        if (at != NULL) {
            memcpy(to, at, sizeof(struct ip));
        }
        break;
    }
    case FORM_TEXT: {
        struct text text = get_text(source, field->most);

        memcpy(to, &text, sizeof text);
        break;
    }
    case FORM_KEPT: {
        struct kept_text kept = {{"", 0}, 0};

        kept.whole = (uint32_t)get(source, 4);
        kept.text = get_text(source, field->most);
        if (kept.text.size != (kept.whole < field->most ? kept.whole : field->most)) {
            source->bad = true;
        }
        memcpy(to, &kept, sizeof kept);
        break;
    }
    }
}

enum record_kind decision_kind(const unsigned char *bytes, size_t size)
{
    return size >= 2 && bytes[1] <= RECORD_RESET ? (enum record_kind)bytes[1] : RECORD_DECISION;
}

/* No text is NULL, whatever the record's kind. */
static void make_field_empty(struct decision *decision, const struct field *field)
{
    static const struct text empty = {"", 0};

    if (field->form == FORM_TEXT || field->form == FORM_KEPT) {
        memcpy((unsigned char *)decision + field->at, &empty, sizeof empty);
    }
}

static enum status nothing_read(struct decision *decision)
{
    memset(decision, 0, sizeof *decision);
    for (size_t i = 0; i < sizeof field_table / sizeof *field_table; i++) {
        make_field_empty(decision, &field_table[i]);
    }
    decision->verdict.check = CHECK_NONE;
    return STATUS_BAD;
}

enum status decision_read(const unsigned char *bytes, size_t size, struct decision_room *room,
                          struct decision *decision)
{
    struct source source = {bytes, size, false};
    unsigned of;

    if (get(&source, 1) != VERSION) {
        return nothing_read(decision);
    }
    memset(decision, 0, sizeof *decision);
    decision->verdict.check = CHECK_NONE;
    decision->number_list = room->number;
    decision->charge_list = room->charge;
    decision->kind = (enum record_kind)get_below(&source, 1, RECORD_RESET + 1);
    of = 1U << decision->kind;
    for (size_t i = 0; i < sizeof field_table / sizeof *field_table; i++) {
        if ((field_table[i].of & of) != 0) {
            get_field(&source, &field_table[i], (unsigned char *)decision + field_table[i].at);
        } else {
            make_field_empty(decision, &field_table[i]);
        }
    }
    if ((of & OF_NUMBERS) != 0) {
        decision->numbers = get_below(&source, 2, DECISION_NUMBERS + 1);
        for (size_t i = 0; i < decision->numbers; i++) {
            room->number[i] = get(&source, 8);
        }
    }
    if ((of & OF_CHARGES) != 0) {
        decision->charges = get_below(&source, 2, DECISION_CHARGES + 1);
        for (size_t i = 0; i < decision->charges; i++) {
            struct charge *charge = &room->charge[i];

            charge->hash = get(&source, 8);
            charge->group = get(&source, 8);
            charge->at = (int64_t)get(&source, 8);
            charge->allowed = get(&source, 8);
            charge->seconds = (uint32_t)get(&source, 4);
            charge->amount = (uint32_t)get(&source, 4);
            charge->subject = (unsigned char)get(&source, 1);
            source.bad |= !charge_sound(charge);
        }
    }
    if (source.bad || source.left != 0) {
        return nothing_read(decision);
    }
    return STATUS_OK;
}

/* The longest records: every text as long as it is kept, every list full. */
enum {
    TEXT_OCTETS = 3,
    FIXED_OCTETS = 320, /* the numbers, flags, enums and addresses of any record: fewer */
    LONGEST_DECISION = FIXED_OCTETS + 6 * (4 + TEXT_OCTETS + DECISION_TEXT) +
                       2 * (TEXT_OCTETS + DECISION_ID) + 2 * (TEXT_OCTETS + DECISION_ROW_TEXT) +
                       (SUBJECT_COUNT + 1) * (TEXT_OCTETS + DECISION_SUBJECT) +
                       DECISION_CHARGES * CHARGE_OCTETS,
    LONGEST_END = FIXED_OCTETS + TEXT_OCTETS + DECISION_ID + DECISION_NUMBERS * 8 +
                  DECISION_CHARGES * CHARGE_OCTETS
};
_Static_assert((int)LONGEST_DECISION <= (int)DECISION_RECORD &&
                   (int)LONGEST_END <= (int)DECISION_RECORD,
               "DECISION_RECORD is too small");
