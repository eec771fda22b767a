/* A page for people, in two forms: text of 78 columns, or HTML that needs nothing else. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "page.h"

#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

enum { WIDTH = 78, SAID = 4096 };

static const char style[] =
    ":root{color-scheme:light "
    "dark;--paper:#fff;--ink:#1c1e21;--soft:#666;--line:#ddd;--box:#f5f6f7;\n"
    "--pass:#2f6fc4;--refuse:#c23b22;--defer:#c98a00}\n"
    "@media(prefers-color-scheme:dark){:root{--paper:#15171a;--ink:#e4e6e8;--soft:#9aa0a6;\n"
    "--line:#363a40;--box:#1f2226;--pass:#6ea8f2;--refuse:#ef6f57;--defer:#e5b340}}\n"
    "body{margin:0 auto;padding:1rem;max-width:46rem;background:var(--paper);color:var(--ink);\n"
    "font:1rem/1.45 system-ui,sans-serif;overflow-wrap:anywhere}\n"
    "h1{font-size:1.3rem;margin:.2rem 0}\n"
    "h2{font-size:1.05rem;margin:2rem 0 .4rem;border-bottom:1px solid var(--line)}\n"
    "p{margin:.4rem 0}\n"
    ".item{margin:.7rem 0;padding:.3rem .8rem;background:var(--box);border-left:4px solid "
    "var(--soft)}\n"
    ".bad{border-color:var(--refuse)}.note{border-color:var(--defer)}.good{border-color:var(--pass)"
    "}\n"
    ".item p:first-child{font-weight:600}\n"
    "pre{margin:.4rem 0;padding:.5rem;border:1px solid var(--line);white-space:pre-wrap;\n"
    "font:.85rem/1.4 ui-monospace,monospace}\n"
    ".wide{overflow-x:auto}\n"
    "table{border-collapse:collapse;width:100%;font-size:.9rem}\n"
    "th{text-align:left;color:var(--soft);font-weight:600}\n"
    "th,td{padding:.2rem .5rem .2rem 0;vertical-align:top;border-bottom:1px solid var(--line)}\n"
    ".n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap;width:1%}\n"
    ".w{white-space:nowrap;width:1%}\n"
    "svg{display:block;width:100%;max-width:40rem;height:auto;margin:.5rem 0}\n"
    "svg text{fill:var(--soft);font:10px system-ui,sans-serif}\n"
    "svg .axis{stroke:var(--line)}\n"
    ".p{fill:var(--pass)}.d{fill:var(--defer)}.r{fill:var(--refuse)}\n"
    ".key{color:var(--soft);font-size:.85rem}\n"
    ".key b{font-weight:400}.key b::before{content:\"\\25A0 \"}\n"
    ".key .p::before{color:var(--pass)}.key .d::before{color:var(--defer)}\n"
    ".key .r::before{color:var(--refuse)}\n"
    "summary{color:var(--soft)}\n";

/* -- text and HTML -------------------------------------------------------------------------- */

/* Not a sign of it can end a text or an attribute. */
static void put_sign(struct page *page, char sign)
{
    switch (sign) {
    case '&':
        fputs("&amp;", page->to);
        break;
    case '<':
        fputs("&lt;", page->to);
        break;
    case '>':
        fputs("&gt;", page->to);
        break;
    case '"':
        fputs("&quot;", page->to);
        break;
    case '\'':
        fputs("&#39;", page->to);
        break;
    default:
        fputc(sign, page->to);
    }
}

/* For a title or an attribute: words of ours, or a host's name. */
static void put_short(struct page *page, const char *text)
{
    for (; *text != '\0'; text++) {
        put_sign(page, *text);
    }
}

/* Text in an element, of any length. A line ends at a blank, or within a tag that lets a long word
 * be broken. */
static void put_html(struct page *page, const char *text)
{
    enum { LINE = 100 };

    for (size_t used = 0; *text != '\0'; text++, used++) {
        if (used >= LINE && *text == ' ') {
            fputc('\n', page->to);
            used = 0;
            continue;
        }
        if (used > 0 && used % (LINE + 20) == 0) {
            fputs("<wbr\n/>", page->to);
            used = 0;
        }
        put_sign(page, *text);
    }
}

/* Words in lines of WIDTH columns, the first from column `at` on, the others with `indent` blanks
 * in front. A word that is longer than a line is broken. */
static void put_words(struct page *page, const char *text, size_t at, size_t indent)
{
    size_t used = at, begun = at;

    while (*text != '\0') {
        size_t word = strcspn(text, " ");
        if (used > begun && used + 1 + word > WIDTH) {
            fprintf(page->to, "\n%*s", (int)indent, "");
            used = begun = indent;
        } else if (used > begun) {
            fputc(' ', page->to);
            used++;
        }
        while (used + word > WIDTH) {
            size_t piece = WIDTH - used;
            fprintf(page->to, "%.*s\n%*s", (int)piece, text, (int)indent, "");
            text += piece;
            word -= piece;
            used = begun = indent;
        }
        fwrite(text, 1, word, page->to);
        used += word;
        text += word;
        text += strspn(text, " ");
    }
    fputc('\n', page->to);
}

static void put_folded(struct page *page, const char *text, const char *first)
{
    fputs(first, page->to);
    put_words(page, text, strlen(first), strlen(first));
}

static void said(char to[SAID], const char *format, va_list arguments)
{
    vsnprintf(to, SAID, format, arguments);
}

static void put_paragraph(struct page *page, const char *text)
{
    fputs("<p>", page->to);
    put_html(page, text);
    fputs("</p>\n", page->to);
}

void page_begin(struct page *page, const char *title)
{
    if (!page->html) {
        put_folded(page, title, "");
        return;
    }
    fputs("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\" />\n"
          "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\" />\n"
          "<meta name=\"referrer\" content=\"no-referrer\" />\n"
          "<meta http-equiv=\"Content-Security-Policy\" "
          "content=\"default-src &#39;none&#39;; style-src &#39;unsafe-inline&#39;\" />\n"
          "<title>",
          page->to);
    put_short(page, title);
    fprintf(page->to, "</title>\n<style>\n%s</style>\n</head>\n<body>\n<h1>", style);
    put_html(page, title);
    fputs("</h1>\n", page->to);
}

void page_end(struct page *page)
{
    if (page->html) {
        fputs("</body>\n</html>\n", page->to);
    }
}

void page_section(struct page *page, const char *title)
{
    if (page->html) {
        fputs("<h2>", page->to);
        put_html(page, title);
        fputs("</h2>\n", page->to);
        return;
    }
    fprintf(page->to, "\n%s\n", title);
    for (size_t i = strlen(title); i > 0; i--) {
        fputc('-', page->to);
    }
    fputc('\n', page->to);
}

/* As a paragraph, or as lines behind this margin. */
static void put_said(struct page *page, const char *margin, const char *format, va_list arguments)
{
    char text[SAID];

    said(text, format, arguments);
    if (page->html) {
        put_paragraph(page, text);
    } else {
        put_folded(page, text, margin);
    }
}

void page_say(struct page *page, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    put_said(page, "", format, arguments);
    va_end(arguments);
}

void page_item(struct page *page, enum page_tone tone, const char *format, ...)
{
    static const char *const classes[] = {"bad", "note", "good"};
    static const char *const marks[] = {"!! ", "!  ", "   "};
    va_list arguments;

    if (page->html) {
        fprintf(page->to, "<div class=\"item %s\">\n", classes[tone]);
    }
    va_start(arguments, format);
    put_said(page, marks[tone], format, arguments);
    va_end(arguments);
}

void page_item_say(struct page *page, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    put_said(page, "   ", format, arguments);
    va_end(arguments);
}

void page_item_end(struct page *page)
{
    if (page->html) {
        fputs("</div>\n", page->to);
    }
}

void page_command(struct page *page, const char *line)
{
    const size_t indent = page->html ? 0 : 6;
    size_t used = 0;
    bool in_line = false;

    fputs(page->html ? "<pre>" : "", page->to);
    fprintf(page->to, "%*s", (int)indent, "");
    used = indent;
    while (*line != '\0') {
        char word[512];
        size_t size = strcspn(line, " ");
        size_t take = size < sizeof word - 1 ? size : sizeof word - 1;
        memcpy(word, line, take);
        word[take] = '\0';
        for (char *tab = word; (tab = strchr(tab, '\t')) != NULL;) {
            *tab = ' ';
        }
        if (in_line && used + 1 + take > WIDTH - 2) {
            fprintf(page->to, " \\\n%*s", (int)indent + 4, "");
            used = indent + 4;
        } else if (in_line) {
            fputc(' ', page->to);
            used++;
        }
        if (page->html) {
            put_short(page, word);
        } else {
            fputs(word, page->to);
        }
        used += take;
        in_line = true;
        line += take;
        line += *line == ' ';
    }
    fputs(page->html ? "</pre>\n" : "\n", page->to);
}

/* -- tables --------------------------------------------------------------------------------- */

static const char *class_of(const struct page_column *column)
{
    enum { WORD = 22 }; /* narrower than this are words of ours */

    return column->right                                ? " class=\"n\""
           : column->width > 0 && column->width <= WORD ? " class=\"w\""
                                                        : "";
}

void page_table(struct page *page, const struct page_column *columns, size_t count)
{
    page->columns = columns;
    page->count = count;
    if (page->html) {
        fputs("<div class=\"wide\"><table>\n<thead><tr>", page->to);
        for (size_t i = 0; i < count; i++) {
            fprintf(page->to, "<th%s>%s</th>", class_of(&columns[i]), columns[i].title);
        }
        fputs("</tr></thead>\n<tbody>\n", page->to);
        return;
    }
    const char *titles[16];
    for (size_t i = 0; i < count && i < 16; i++) {
        titles[i] = columns[i].title;
    }
    page_row(page, titles);
}

void page_row(struct page *page, const char *const *cells)
{
    size_t used = 0;

    if (page->html) {
        fputs("<tr>", page->to);
        for (size_t i = 0; i < page->count; i++) {
            fprintf(page->to, "\n<td%s>", class_of(&page->columns[i]));
            put_html(page, cells[i]);
            fputs("</td>", page->to);
        }
        fputs("</tr>\n", page->to);
        return;
    }
    for (size_t i = 0; i < page->count; i++) {
        const struct page_column *column = &page->columns[i];
        const int width = column->width;
        if (cells[i][0] == '\0' && i + 1 == page->count) {
            break;
        }
        fputs(i > 0 ? "  " : "", page->to);
        used += i > 0 ? 2 : 0;
        if (width == 0) {
            put_words(page, cells[i], used, used);
            return;
        }
        if (strlen(cells[i]) > (size_t)width) {
            fprintf(page->to, "%.*s...", width - 3, cells[i]);
        } else if (column->right) {
            fprintf(page->to, "%*s", width, cells[i]);
        } else {
            fprintf(page->to, "%-*s", i + 1 < page->count ? width : 0, cells[i]);
        }
        used += (size_t)width;
    }
    fputc('\n', page->to);
}

void page_table_end(struct page *page)
{
    if (page->html) {
        fputs("</tbody>\n</table></div>\n", page->to);
    }
}

/* -- pictures ------------------------------------------------------------------------------- */

static uint64_t whole(const struct page_bar *bar)
{
    return bar->passed + bar->deferred + bar->refused;
}

static double part(uint64_t count, uint64_t most, double size)
{
    return most > 0 ? (double)count / (double)most * size : 0;
}

enum { PICTURE = 360, HEIGHT = 130, LEFT = 4, TOP = 14 };

static void put_bars(struct page *page, const char *unit, const struct page_bar *bars, size_t count,
                     uint64_t most)
{
    const double step = (double)(PICTURE - 2 * LEFT) / (double)count;
    const size_t every = count > 6 ? (count + 5) / 6 : 1;

    fprintf(page->to,
            "<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"recipients an %s\">\n"
            "<text x=\"%d\" y=\"9\">most in one %s: %" PRIu64 "</text>\n"
            "<path class=\"axis\" d=\"M%d %dH%d\" />\n",
            PICTURE, TOP + HEIGHT + 16, unit, LEFT, unit, most, LEFT, TOP + HEIGHT, PICTURE - LEFT);
    for (size_t i = 0; i < count; i++) {
        const struct {
            char kind;
            uint64_t count;
        } parts[] = {{'p', bars[i].passed}, {'d', bars[i].deferred}, {'r', bars[i].refused}};
        const double x = LEFT + step * (double)i;
        double y = TOP + HEIGHT;
        fprintf(page->to,
                "<g><title>%s: %" PRIu64 " passed, %" PRIu64 " deferred, %" PRIu64
                " refused</title>\n",
                bars[i].label, bars[i].passed, bars[i].deferred, bars[i].refused);
        for (size_t j = 0; j < sizeof parts / sizeof parts[0]; j++) {
            double height = part(parts[j].count, most, HEIGHT);
            /* what is there can be seen */
            height = parts[j].count > 0 && height < 1 ? 1 : height;
            y -= height;
            if (parts[j].count > 0) {
                fprintf(page->to,
                        "<rect class=\"%c\" x=\"%.2f\" y=\"%.2f\" width=\"%.2f\" "
                        "height=\"%.2f\" />\n",
                        parts[j].kind, x, y, step * 0.85, height);
            }
        }
        fputs("</g>\n", page->to);
        if (i % every == 0) { /* 2026-11-24 03 -> 03h, 2026-11-24 -> 11-24 */
            size_t size = strlen(bars[i].label);
            fprintf(page->to, "<text x=\"%.2f\" y=\"%d\">%s%s</text>\n", x, TOP + HEIGHT + 12,
                    bars[i].label + (size > 11  ? 11
                                     : size > 5 ? 5
                                                : 0),
                    size > 11 ? "h" : "");
        }
    }
    fputs("</svg>\n<p class=\"key\"><b class=\"p\">passed</b> <b class=\"d\">deferred</b> "
          "<b class=\"r\">refused</b></p>\n",
          page->to);
}

void page_bars(struct page *page, const char *unit, const struct page_bar *bars, size_t count)
{
    const struct page_column columns[] = {{"UTC", 13, false},
                                          {"passed", 9, true},
                                          {"deferred", 9, true},
                                          {"refused", 9, true},
                                          {"", 0, false}};
    uint64_t most = 0;

    for (size_t i = 0; i < count; i++) {
        most = whole(&bars[i]) > most ? whole(&bars[i]) : most;
    }
    if (page->html && count > 0) {
        put_bars(page, unit, bars, count, most);
        fprintf(page->to, "<details><summary>the figures of each %s</summary>\n", unit);
    }
    page_table(page, columns, page->html ? 4 : 5);
    for (size_t i = 0; i < count; i++) {
        char passed[24], deferred[24], refused[24], bar[32] = "";
        const char *cells[] = {bars[i].label, passed, deferred, refused, bar};
        snprintf(passed, sizeof passed, "%" PRIu64, bars[i].passed);
        snprintf(deferred, sizeof deferred, "%" PRIu64, bars[i].deferred);
        snprintf(refused, sizeof refused, "%" PRIu64, bars[i].refused);
        /* + passed, - refused or deferred */
        if (!page->html && whole(&bars[i]) == 0) {
            continue; /* a day has quiet hours */
        }
        size_t plus = (size_t)part(bars[i].passed, most, 26);
        size_t minus = (size_t)part(bars[i].refused + bars[i].deferred, most, 26);
        plus += bars[i].passed > 0 && plus == 0;
        minus += bars[i].refused + bars[i].deferred > 0 && minus == 0;
        memset(bar, '+', plus);
        memset(bar + plus, '-', minus);
        bar[plus + minus] = '\0';
        page_row(page, cells);
    }
    page_table_end(page);
    if (page->html && count > 0) {
        fputs("</details>\n", page->to);
    }
}

void page_shares(struct page *page, const char *title, const struct page_share *shares,
                 size_t count)
{
    uint64_t most = 0;

    if (!page->html || count == 0) {
        return;
    }
    for (size_t i = 0; i < count; i++) {
        most = shares[i].count > most ? shares[i].count : most;
    }
    fprintf(page->to, "<svg viewBox=\"0 0 %d %zu\" role=\"img\" aria-label=\"", PICTURE,
            count * 18 + 4);
    put_short(page, title);
    fputs("\">\n", page->to);
    for (size_t i = 0; i < count; i++) {
        const double bar = part(shares[i].count, most, 170);
        fprintf(page->to, "<text x=\"0\" y=\"%zu\">", i * 18 + 13);
        put_short(page, shares[i].name);
        fprintf(page->to,
                "</text>\n<rect class=\"%c\" x=\"125\" y=\"%zu\" width=\"%.2f\" height=\"12\" />\n"
                "<text x=\"%.2f\" y=\"%zu\">%" PRIu64 "</text>\n",
                shares[i].kind, i * 18 + 3, bar > 1 ? bar : 1, 129 + (bar > 1 ? bar : 1),
                i * 18 + 13, shares[i].count);
    }
    fputs("</svg>\n", page->to);
}
