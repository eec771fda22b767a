/* A page for people, in two forms: text of 78 columns, or HTML that needs nothing else. */
/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SEKISHO_PAGE_H
#define SEKISHO_PAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Texts are printable ASCII (printable_copy, ctl_plain); in HTML the five signs that mean something
 * there are written as references, so nothing that is said can become a tag. Lines are shorter than
 * 998 octets (RFC 5322 2.1.1). A write that fails shows in ferror(to). */
struct page {
    FILE *to;
    bool html;
    /* of the table that is open: */
    const struct page_column *columns;
    size_t count;
};

/* The whole of it. */
void page_begin(struct page *page, const char *title);
void page_end(struct page *page);

void page_section(struct page *page, const char *title);
/* A paragraph. */
void page_say(struct page *page, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Something that wants to be read first, with what belongs to it: paragraphs, commands, until
 * page_item_end. */
enum page_tone { TONE_BAD, TONE_NOTE, TONE_GOOD };
void page_item(struct page *page, enum page_tone tone, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void page_item_say(struct page *page, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void page_item_end(struct page *page);
/* What can be pasted into a shell: folded behind \ at blanks, never at a tab, which is shown as a
 * blank. */
void page_command(struct page *page, const char *line);

/* width: columns of the text; 0, of the last one: the rest, folded. */
struct page_column {
    const char *title;
    int width;
    bool right; /* a number */
};
void page_table(struct page *page, const struct page_column *columns, size_t count);
/* As many cells as there are columns; each is cut to its width, in text. */
void page_row(struct page *page, const char *const *cells);
void page_table_end(struct page *page);

/* What happened in one hour or day. */
struct page_bar {
    const char *label;
    uint64_t passed, deferred, refused;
};
/* A picture of them, and the figures; unit: "hour", "day". */
void page_bars(struct page *page, const char *unit, const struct page_bar *bars, size_t count);

struct page_share {
    const char *name;
    char kind; /* p: passed, d: deferred, r: refused; the colour */
    uint64_t count;
};
/* A picture of how much of each there is, the HTML form only. */
void page_shares(struct page *page, const char *title, const struct page_share *shares,
                 size_t count);

#endif
