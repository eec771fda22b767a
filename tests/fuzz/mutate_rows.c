/* Changes stories of fuzz_policy_rows as what they are: lines, cells, and ranges that meet. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "core/range.h"
#include "fuzz.h"

/* What a range decides shows where ranges touch, share an end, or are equally wide. Octets changed
 * by chance hardly ever bring that about; so here new ranges are made of the ends of those that are
 * there, and cells go from row to row. Which rows, and what should come out, is not known here. */

enum { STORY_MOST = 8192, LINES_MOST = 64, RANGES_MOST = 64, STEPS_MOST = 5 };

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t most);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed);

struct piece {
    size_t at, size;
};

struct draft {
    char text[STORY_MOST];
    size_t size, most;
    struct piece line[LINES_MOST];
    size_t lines;
    struct piece cell[RANGES_MOST]; /* texts that are ranges, without their sign */
    struct range range[RANGES_MOST];
    size_t ranges;
    uint32_t chance;
};

static size_t pick(struct draft *draft, size_t below)
{
    draft->chance ^= draft->chance << 13;
    draft->chance ^= draft->chance >> 17;
    draft->chance ^= draft->chance << 5;
    return below > 0 ? draft->chance % below : 0;
}

static struct piece next_piece(const struct draft *draft, size_t at, size_t end, char sign)
{
    const char *stop = memchr(draft->text + at, sign, end - at);

    return (struct piece){at, stop != NULL ? (size_t)(stop - draft->text) - at : end - at};
}

static bool is_row(const struct draft *draft, size_t line)
{
    struct piece whole = draft->line[line];

    return whole.size > 0 && draft->text[whole.at] >= 'A' && draft->text[whole.at] <= 'M';
}

/* The n-th cell of a line, with its sign; false: it has not so many. */
static bool cell_of(const struct draft *draft, size_t line, size_t n, struct piece *cell)
{
    struct piece whole = draft->line[line];
    size_t at = whole.at + 1, end = whole.at + whole.size;

    for (; at <= end; at += cell->size + 1) {
        *cell = next_piece(draft, at, end, '\t');
        if (n-- == 0) {
            return true;
        }
    }
    return false;
}

static void look(struct draft *draft)
{
    draft->lines = draft->ranges = 0;
    for (size_t at = 0; at < draft->size && draft->lines < LINES_MOST;) {
        struct piece line = next_piece(draft, at, draft->size, '\n');
        size_t number = draft->lines;
        draft->line[draft->lines++] = line;
        at += line.size + 1;
        struct piece cell;
        for (size_t n = 0; is_row(draft, number) && draft->ranges < RANGES_MOST &&
                           cell_of(draft, number, n, &cell);
             n++) {
            if (cell.size > 1 && draft->text[cell.at] == 't' &&
                range_parse(draft->text + cell.at + 1, cell.size - 1, &draft->range[draft->ranges],
                            NULL) == STATUS_OK) {
                draft->cell[draft->ranges++] = (struct piece){cell.at + 1, cell.size - 1};
            }
        }
    }
}

/* Puts text where the piece is, unless the story gets too long. text is not in the story. */
static void put(struct draft *draft, struct piece old, const char *text, size_t size)
{
    if (draft->size - old.size + size > draft->most) {
        return;
    }
    memmove(draft->text + old.at + size, draft->text + old.at + old.size,
            draft->size - old.at - old.size);
    memcpy(draft->text + old.at, text, size);
    draft->size = draft->size - old.size + size;
}

static void copy_piece(struct draft *draft, struct piece from, struct piece to, bool line)
{
    char text[STORY_MOST + 1];

    memcpy(text, draft->text + from.at, from.size);
    text[from.size] = '\n';
    put(draft, to, text, from.size + line);
}

/* -- ranges ----------------------------------------------------------------------------------- */

static void step(struct ip *ip, bool up)
{
    for (int i = 15; i >= 0; i--) {
        if (up ? ++ip->byte[i] != 0 : ip->byte[i]-- != 0) {
            return;
        }
    }
}

/* An end of a range that is there, or the address before or behind it. */
static struct ip an_edge(struct draft *draft)
{
    static const struct range none = {{{0}}, {{0}}};
    const struct range *range =
        draft->ranges > 0 ? &draft->range[pick(draft, draft->ranges)] : &none;
    struct ip ip = pick(draft, 2) == 0 ? range->first : range->last;

    if (pick(draft, 3) == 0) {
        step(&ip, pick(draft, 2) == 0);
    }
    return ip;
}

/* From one edge to another; or as wide as one that is there, from an edge on. */
static size_t write_range(struct draft *draft, char *to, size_t room)
{
    struct ip a = an_edge(draft), b = an_edge(draft);
    char first[IP_TEXT], last[IP_TEXT];

    if (draft->ranges > 0 && pick(draft, 3) == 0) {
        const struct range *like = &draft->range[pick(draft, draft->ranges)];
        int carry = 0;
        for (int i = 15; i >= 0; i--) {
            carry += a.byte[i] + like->last.byte[i] - like->first.byte[i];
            b.byte[i] = (unsigned char)carry;
            carry >>= 8;
        }
    } else if (ip_compare(&a, &b) > 0) {
        struct ip kept = a;
        a = b;
        b = kept;
    }
    ip_text(&a, first);
    ip_text(&b, last);
    return (size_t)snprintf(to, room, "%s-%s", first, last);
}

static void new_range(struct draft *draft)
{
    char text[2 * IP_TEXT + 1];

    if (draft->ranges > 0) {
        size_t size = write_range(draft, text, sizeof text);
        put(draft, draft->cell[pick(draft, draft->ranges)], text, size);
    }
}

static void new_range_row(struct draft *draft)
{
    static const char *const begin[] = {"Ct", "Dt", "Dt", "Dt"};
    static const char *const end[] = {"\tn\n", "\ttreject\tteveryone\tn\tn\n",
                                      "\ttaccept\ttstrangers\tn\tn\n",
                                      "\tttempfail\tteveryone\ttlist\tn\n"};
    char text[128], range[2 * IP_TEXT + 1];
    size_t kind = pick(draft, sizeof begin / sizeof begin[0]);

    write_range(draft, range, sizeof range);
    int size = snprintf(text, sizeof text, "%s%s%s", begin[kind], range, end[kind]);
    put(draft, (struct piece){draft->lines > 0 ? draft->line[pick(draft, draft->lines)].at : 0, 0},
        text, (size_t)size);
}

/* -- lines and cells -------------------------------------------------------------------------- */

static void cell_from_elsewhere(struct draft *draft)
{
    size_t to_line = pick(draft, draft->lines), from_line = pick(draft, draft->lines);
    size_t n = pick(draft, 5);
    struct piece from, to;

    /* once more for a row of the same table: its cells fit */
    if (draft->text[draft->line[to_line].at] != draft->text[draft->line[from_line].at]) {
        from_line = pick(draft, draft->lines);
    }
    if (is_row(draft, to_line) && is_row(draft, from_line) && cell_of(draft, to_line, n, &to) &&
        cell_of(draft, from_line, n, &from)) {
        copy_piece(draft, from, to, false);
    }
}

static void line_again(struct draft *draft)
{
    struct piece to = draft->line[pick(draft, draft->lines)];

    copy_piece(draft, draft->line[pick(draft, draft->lines)], (struct piece){to.at, 0}, true);
}

static void line_away(struct draft *draft)
{
    struct piece line = draft->line[pick(draft, draft->lines)];

    line.size += line.at + line.size < draft->size;
    put(draft, line, "", 0);
}

static void client_at_edge(struct draft *draft)
{
    size_t line = pick(draft, draft->lines);
    char text[IP_TEXT];
    struct piece field;

    if (draft->line[line].size > 0 && draft->text[draft->line[line].at] == '!' &&
        cell_of(draft, line, 0, &field)) {
        struct ip ip = an_edge(draft);
        ip_text(&ip, text);
        put(draft, field, text, strlen(text));
    }
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed)
{
    static void (*const ways[])(struct draft *) = {
        new_range,           new_range,  new_range_row, cell_from_elsewhere,
        cell_from_elsewhere, line_again, line_away,     client_at_edge};
    static struct draft draft;

    draft.chance = seed * 2654435761u + 1;
    draft.chance += draft.chance == 0;
    draft.most = most < STORY_MOST ? most : STORY_MOST;
    if (size > draft.most || pick(&draft, 2) == 0) {
        return LLVMFuzzerMutate(data, size, most);
    }
    memcpy(draft.text, data, size);
    draft.size = size;
    for (size_t steps = 1 + pick(&draft, STEPS_MOST); steps > 0; steps--) {
        look(&draft);
        if (draft.lines == 0) {
            new_range_row(&draft);
        } else {
            ways[pick(&draft, sizeof ways / sizeof ways[0])](&draft);
        }
    }
    memcpy(data, draft.text, draft.size);
    return draft.size;
}
