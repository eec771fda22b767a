/* A list as people keep it: entries on lines, or CSV with a header; row by row. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "listfile.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/range.h"

enum { FIELDS_MOST = 64 };

/* A piece of the row; quoted: also "" was given. */
struct field {
    char *text;
    size_t size;
    bool quoted;
};

struct listfile {
    FILE *file;
    char *path;
    const char *columns[POLICYEDIT_COLUMNS];
    size_t count;
    bool published; /* ranges as blocklists and registries publish them */
    bool begun, csv, held;
    bool named[POLICYEDIT_COLUMNS];
    size_t place[POLICYEDIT_COLUMNS]; /* of CSV: the column of the n-th field */
    size_t fields;                    /* of CSV: how many there are in a row */
    char delimiter;
    uint32_t line;  /* lines read */
    uint32_t first; /* where the row begins */
    bool long_row;
    size_t size;
    char row[LISTFILE_ROW + 1];
    char range[RANGE_TEXT], note[RANGE_TEXT]; /* what stands for a registry's line */
};

/* -- opening -------------------------------------------------------------------------------- */

/* tmpfile() does not look at TMPDIR. */
static FILE *file_without_name(void)
{
    const char *folder = getenv("TMPDIR");
    char name[4096];

    folder = folder != NULL && folder[0] != '\0' ? folder : "/tmp";
    if ((size_t)snprintf(name, sizeof name, "%s/sekisho.XXXXXX", folder) >= sizeof name) {
        errno = ENAMETOOLONG;
        return NULL;
    }
    int number = mkstemp(name);
    if (number < 0) {
        return NULL;
    }
    unlink(name);
    FILE *file = fdopen(number, "w+");
    if (file == NULL) {
        close(number);
    }
    return file;
}

/* All that comes, in a file without a name. */
static enum status copy_all(struct listfile *list, int from, const volatile sig_atomic_t *stop,
                            struct why *why)
{
    static char piece[65536];
    int64_t total = 0;
    ssize_t size;

    list->file = file_without_name();
    if (list->file == NULL) {
        return why_set(why, STATUS_BROKEN, "%s: no place for a copy of it: %s", list->path,
                       strerror(errno));
    }
    while ((size = read(from, piece, sizeof piece)) != 0) {
        if (size < 0 && errno == EINTR && (stop == NULL || *stop == 0)) {
            continue;
        }
        if (size < 0) {
            return why_set(why, STATUS_BROKEN, "%s: %s", list->path, strerror(errno));
        }
        total += size;
        if (total > LISTFILE_MOST) {
            return why_set(why, STATUS_BAD, "%s: is longer than 1 GiB", list->path);
        }
        if (fwrite(piece, 1, (size_t)size, list->file) != (size_t)size) {
            return why_set(why, STATUS_BROKEN, "%s: no place for a copy of it: %s", list->path,
                           strerror(errno));
        }
    }
    if (fflush(list->file) != 0 || fseek(list->file, 0, SEEK_SET) != 0) {
        return why_set(why, STATUS_BROKEN, "%s: no place for a copy of it: %s", list->path,
                       strerror(errno));
    }
    return STATUS_OK;
}

static enum status open_file(struct listfile *list, const volatile sig_atomic_t *stop,
                             struct why *why)
{
    bool input = strcmp(list->path, "-") == 0;
    int file = input ? STDIN_FILENO : open(list->path, O_RDONLY | O_CLOEXEC);
    enum status status = STATUS_OK;
    struct stat seen;

    if (file < 0 || fstat(file, &seen) != 0) {
        status = why_set(why, STATUS_BROKEN, "%s: %s", list->path, strerror(errno));
    } else if (S_ISDIR(seen.st_mode)) {
        status = why_set(why, STATUS_BROKEN, "%s: is a folder", list->path);
    } else if (input || !S_ISREG(seen.st_mode)) {
        status = copy_all(list, file, stop, why);
    } else if (seen.st_size > LISTFILE_MOST) {
        status = why_set(why, STATUS_BAD, "%s: is longer than 1 GiB", list->path);
    } else {
        list->file = fdopen(file, "r");
        if (list->file != NULL) {
            file = -1;
        } else {
            status = why_set(why, STATUS_BROKEN, "%s: %s", list->path, strerror(errno));
        }
    }
    if (file >= 0 && !input) {
        close(file);
    }
    return status;
}

static enum status look_at_encoding(struct listfile *list, struct why *why)
{
    unsigned char mark[3] = {0, 0, 0};
    size_t size = fread(mark, 1, sizeof mark, list->file);

    if ((mark[0] == 0xff && mark[1] == 0xfe) || (mark[0] == 0xfe && mark[1] == 0xff)) {
        return why_set(why, STATUS_BAD, "%s: is in UTF-16; save it as UTF-8", list->path);
    }
    if (size != 3 || mark[0] != 0xef || mark[1] != 0xbb || mark[2] != 0xbf) {
        rewind(list->file);
    }
    return STATUS_OK;
}

/* -- lines ---------------------------------------------------------------------------------- */

/* Adds the next line, without its end, to the row; false at the end of the list. */
static bool read_line(struct listfile *list)
{
    int octet;
    size_t before = list->size;

    flockfile(list->file);
    octet = getc_unlocked(list->file);
    if (octet == EOF) {
        funlockfile(list->file);
        return false;
    }
    for (; octet != EOF && octet != '\n'; octet = getc_unlocked(list->file)) {
        if (list->size < LISTFILE_ROW) {
            list->row[list->size++] = (char)octet;
        } else {
            list->long_row = true;
        }
    }
    funlockfile(list->file);
    if (list->size > before && list->row[list->size - 1] == '\r') {
        list->size--;
    }
    list->row[list->size] = '\0';
    list->line++;
    return true;
}

/* Strict: no surrogates, nothing longer than it must be (RFC 3629). */
static bool is_utf8(const char *text, size_t size)
{
    const unsigned char *byte = (const unsigned char *)text;

    for (size_t i = 0; i < size;) {
        size_t more = byte[i] < 0x80   ? 0
                      : byte[i] < 0xc2 ? 4
                      : byte[i] < 0xe0 ? 1
                      : byte[i] < 0xf0 ? 2
                      : byte[i] < 0xf5 ? 3
                                       : 4;
        if (more == 4 || i + more >= size) {
            return false;
        }
        for (size_t n = 1; n <= more; n++) {
            if ((byte[i + n] & 0xc0) != 0x80) {
                return false;
            }
        }
        if ((byte[i] == 0xe0 && byte[i + 1] < 0xa0) || (byte[i] == 0xed && byte[i + 1] > 0x9f) ||
            (byte[i] == 0xf0 && byte[i + 1] < 0x90) || (byte[i] == 0xf4 && byte[i + 1] > 0x8f)) {
            return false;
        }
        i += more + 1;
    }
    return true;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static void trim(struct field *field)
{
    while (field->size > 0 && is_blank(field->text[0])) {
        field->text++;
        field->size--;
    }
    while (field->size > 0 && is_blank(field->text[field->size - 1])) {
        field->size--;
    }
}

static bool is_comment(const struct field *field)
{
    return field->size > 0 && (field->text[0] == '#' || field->text[0] == ';');
}

/* -- CSV (RFC 4180) ------------------------------------------------------------------------- */

/* How far the row was looked at for quotes. */
struct quotes {
    size_t at;
    bool open, inside; /* in quotes; in a field that does not begin with one */
};

/* Does a quote stay open at the end of the row so far? */
static bool is_open(const struct listfile *list, struct quotes *quotes)
{
    for (; quotes->at < list->size; quotes->at++) {
        char c = list->row[quotes->at];
        if (quotes->open) {
            if (c == '"' && list->row[quotes->at + 1] == '"') {
                quotes->at++;
            } else if (c == '"') {
                quotes->open = false;
            }
        } else if (c == '"' && !quotes->inside) {
            quotes->open = quotes->inside = true;
        } else if (c == list->delimiter) {
            quotes->inside = false;
        } else if (!is_blank(c)) {
            quotes->inside = true;
        }
    }
    return quotes->open;
}

/* Takes the row apart, in place. */
static enum status split(char *row, size_t size, char delimiter, struct field *fields,
                         size_t *count, struct why *why)
{
    char *at = row, *end = row + size;

    *count = 0;
    for (;;) {
        struct field field = {at, 0, false};
        if (*count == FIELDS_MOST) {
            return why_set(why, STATUS_BAD, "has more than %d fields", FIELDS_MOST);
        }
        while (at < end && *at != delimiter && is_blank(*at)) {
            at++;
        }
        if (at < end && *at == '"') {
            char *to = ++at;
            field = (struct field){at, 0, true};
            while (at < end && (*at != '"' || at[1] == '"')) {
                at += *at == '"';
                *to++ = *at++;
            }
            if (at == end) {
                return why_set(why, STATUS_BAD, "a quote is not closed");
            }
            field.size = (size_t)(to - field.text);
            for (at++; at < end && *at != delimiter; at++) {
                if (!is_blank(*at)) {
                    return why_set(why, STATUS_BAD, "something stands behind a closed quote");
                }
            }
        } else {
            char *next = memchr(at, delimiter, (size_t)(end - at));
            next = next != NULL ? next : end;
            field.text = at;
            field.size = (size_t)(next - at);
            trim(&field);
            at = next;
        }
        fields[(*count)++] = field;
        if (at == end) {
            return STATUS_OK;
        }
        at++;
    }
}

static size_t column_named(const struct listfile *list, const struct field *field)
{
    size_t i = 0;

    while (i < list->count && (strlen(list->columns[i]) != field->size ||
                               strncasecmp(list->columns[i], field->text, field->size) != 0)) {
        i++;
    }
    return i;
}

static char *column_list(const struct listfile *list, char *to, size_t room)
{
    size_t used = 0;

    to[0] = '\0';
    for (size_t i = 0; i < list->count && used < room; i++) {
        int length = snprintf(to + used, room - used, "%s%s", i > 0 ? ", " : "", list->columns[i]);
        used += length > 0 ? (size_t)length : 0;
    }
    return to;
}

/* Is the first row a header? Then which columns does it name? */
static enum status read_header(struct listfile *list, struct why *why)
{
    static const char delimiters[] = ",;\t";
    static char copy[LISTFILE_ROW + 1];
    struct field fields[FIELDS_MOST];
    char names[128], shown[160];
    size_t count = 0, known = 0;

    /* or an entry: a blank and ; is a remark, a tab divides columns; and a login may be "note" */
    for (size_t d = 0; delimiters[d] != '\0' && known == 0; d++) {
        struct why unused;
        memcpy(copy, list->row, list->size + 1);
        if (split(copy, list->size, delimiters[d], fields, &count, &unused) != STATUS_OK) {
            continue;
        }
        for (size_t i = 0; i < count; i++) {
            known += column_named(list, &fields[i]) < list->count;
        }
        size_t first = count > 0 ? column_named(list, &fields[0]) : list->count;
        if ((delimiters[d] != ',' && first == list->count) || (count == 1 && first != 0)) {
            known = 0;
        }
        list->delimiter = delimiters[d];
    }
    if (known == 0) {
        return STATUS_OK;
    }
    for (size_t i = 0; i < count; i++) {
        size_t column = column_named(list, &fields[i]);
        if (column == list->count) {
            printable_copy(shown, sizeof shown, fields[i].text, fields[i].size, 32);
            return why_set(why, STATUS_BAD,
                           "%s:%" PRIu32 ": \"%s\" is not a column that a list may name: %s",
                           list->path, list->first, shown, column_list(list, names, sizeof names));
        }
        if (list->named[column]) {
            return why_set(why, STATUS_BAD, "%s:%" PRIu32 ": the column %s is named twice",
                           list->path, list->first, list->columns[column]);
        }
        list->named[column] = true;
        list->place[i] = column;
    }
    list->fields = count;
    list->csv = true;
    return STATUS_OK;
}

static enum status take_csv(struct listfile *list, struct policyedit_cell *cells, struct why *why)
{
    struct field fields[FIELDS_MOST];
    size_t count;
    enum status status = split(list->row, list->size, list->delimiter, fields, &count, why);

    if (status != STATUS_OK) {
        return status;
    }
    if (count != list->fields) {
        return why_set(why, STATUS_BAD, "has %zu fields, the header names %zu", count,
                       list->fields);
    }
    for (size_t i = 0; i < count; i++) {
        if (fields[i].size > 0 || fields[i].quoted) {
            cells[list->place[i]] = (struct policyedit_cell){fields[i].text, fields[i].size};
        }
    }
    return STATUS_OK;
}

/* -- plain lists ---------------------------------------------------------------------------- */

/* 192.0.2.1 - 192.0.2.9, as registries write it. */
static void close_dash(struct policyedit_cell *cell, char *text)
{
    size_t used = 0;

    for (size_t i = 0, next; i < cell->size; i = next) {
        bool behind = used > 0 && text[used - 1] == '-';
        next = i;
        while (next < cell->size && text[next] == ' ') {
            next++;
        }
        if (next > i && (behind || (next < cell->size && text[next] == '-'))) {
            continue;
        }
        next += next == i;
        memmove(text + used, text + i, next - i);
        used += next - i;
    }
    cell->size = used;
}

/* inetnum: and its kind: what stands behind the name. */
static void skip_attribute(struct field *field)
{
    static const char *const names[] = {"inetnum:", "inet6num:", "netrange:", "route:", "route6:"};

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        size_t size = strlen(names[i]);
        if (field->size > size && strncasecmp(field->text, names[i], size) == 0) {
            field->text += size;
            field->size -= size;
            trim(field);
            return;
        }
    }
}

/* Reads a number that is the whole field. */
static bool read_count(const struct field *field, uint64_t most, uint64_t *number)
{
    *number = 0;
    for (size_t i = 0; i < field->size; i++) {
        if (field->text[i] < '0' || field->text[i] > '9' || *number > most) {
            return false;
        }
        *number = *number * 10 + (uint64_t)(field->text[i] - '0');
    }
    return field->size > 0 && *number <= most;
}

static bool is_word(const struct field *field, const char *word)
{
    return field->size == strlen(word) && memcmp(field->text, word, field->size) == 0;
}

/* apnic|KR|ipv4|192.0.2.0|256|20001010|allocated: how registries say what they have given. *skip:
 * such a line without addresses. */
static enum status take_registry(struct listfile *list, struct field *line,
                                 struct policyedit_cell *cells, bool *skip, struct why *why)
{
    struct field part[FIELDS_MOST];
    char address[IP_TEXT];
    struct range range;
    uint64_t count = 0;
    size_t parts = 0;

    if (split(line->text, line->size, '|', part, &parts, why) != STATUS_OK || parts < 6) {
        return why_set(why, STATUS_BAD, "is no line of a registry");
    }
    if ((part[0].size > 0 && part[0].text[0] >= '0' && part[0].text[0] <= '9') ||
        is_word(&part[parts - 1], "summary") || is_word(&part[2], "asn")) {
        *skip = true;
        return STATUS_OK;
    }
    bool ipv4 = is_word(&part[2], "ipv4");
    if ((!ipv4 && !is_word(&part[2], "ipv6")) || part[3].size >= sizeof address ||
        !read_count(&part[4], ipv4 ? UINT64_C(1) << 32 : 128, &count) || (ipv4 && count == 0)) {
        return why_set(why, STATUS_BAD, "is no line of a registry");
    }
    memcpy(address, part[3].text, part[3].size);
    address[part[3].size] = '\0';
    if (!ip_parse(address, &range.first) || ip_is_ipv4(&range.first) != ipv4) {
        return why_set(why, STATUS_BAD, "\"%s\" is not an IPv%d address", address, ipv4 ? 4 : 6);
    }
    range.last = range.first;
    if (ipv4) {
        uint64_t last = ip_ipv4_number(&range.first) + count - 1;
        if (last > UINT32_MAX) {
            return why_set(why, STATUS_BAD, "goes beyond the last address");
        }
        range.last = ip_from_ipv4(
            (const unsigned char[4]){(unsigned char)(last >> 24), (unsigned char)(last >> 16),
                                     (unsigned char)(last >> 8), (unsigned char)last});
        range_text(&range, list->range);
    } else {
        snprintf(list->range, sizeof list->range, "%s/%" PRIu64, address, count);
    }
    snprintf(list->note, sizeof list->note, "%.*s %.*s",
             (int)(part[0].size < 30 ? part[0].size : 30), part[0].text,
             (int)(part[1].size < 30 ? part[1].size : 30), part[1].text);
    cells[0] = (struct policyedit_cell){list->range, strlen(list->range)};
    cells[list->count - 1] = (struct policyedit_cell){list->note, strlen(list->note)};
    return STATUS_OK;
}

/* The entry and, each behind a tab, further columns; what a # or ; begins is the note. */
static enum status take_line(struct listfile *list, struct policyedit_cell *cells, bool *skip,
                             struct why *why)
{
    char *at = list->row, *end = list->row + list->size;
    char names[128];

    for (size_t n = 0; at <= end; n++) {
        char *next = memchr(at, '\t', (size_t)(end - at));
        next = next != NULL ? next : end;
        struct field field = {at, (size_t)(next - at), false}, note = {NULL, 0, false};
        if (n + 1 < list->count) { /* a remark may hold such a sign */
            for (char *c = at; c + 1 < next && note.text == NULL; c++) {
                if (*c == ' ' && (c[1] == '#' || c[1] == ';')) {
                    note = (struct field){c + 1, (size_t)(end - c) - 1, false};
                    field.size = (size_t)(c - at);
                }
            }
        }
        trim(&field);
        if (n > 0 && is_comment(&field)) {
            note = (struct field){field.text, (size_t)(end - field.text), false};
            field.size = 0;
        }
        if (n == 0 && list->published) {
            skip_attribute(&field);
            if (memchr(field.text, '|', field.size) != NULL) {
                return take_registry(list, &field, cells, skip, why);
            }
        }
        if (field.size > 0) {
            if (n == list->count) {
                return why_set(why, STATUS_BAD, "has more columns than there are: %s",
                               column_list(list, names, sizeof names));
            }
            cells[n] = (struct policyedit_cell){field.text, field.size};
        }
        if (note.text != NULL) {
            while (note.size > 0 && (is_comment(&note) || is_blank(note.text[0]))) {
                note.text++;
                note.size--;
            }
            trim(&note);
            if (note.size > 0) {
                cells[list->count - 1] = (struct policyedit_cell){note.text, note.size};
            }
            return STATUS_OK;
        }
        at = next + 1;
    }
    return STATUS_OK;
}

/* -- rows ----------------------------------------------------------------------------------- */

static bool is_nothing(struct listfile *list)
{
    struct field whole = {list->row, list->size, false};

    trim(&whole);
    return whole.size == 0 || (list->csv ? whole.text[0] == '#' : is_comment(&whole));
}

enum status listfile_open(const char *path, enum table table, const volatile sig_atomic_t *stop,
                          struct listfile **opened, struct why *why)
{
    struct listfile *list = calloc(1, sizeof *list);
    enum status status;

    *opened = NULL;
    if (list == NULL || (list->path = strdup(path)) == NULL) {
        status = why_set(why, STATUS_BROKEN, "%s: no memory to read it", path);
        goto out;
    }
    policyedit_columns(table, list->columns);
    while (list->columns[list->count] != NULL) {
        list->count++;
    }
    list->published = table == TABLE_IP_RANGE;
    status = open_file(list, stop, why);
    if (status == STATUS_OK) {
        status = look_at_encoding(list, why);
    }
    while (status == STATUS_OK && read_line(list)) {
        list->first = list->line;
        if (!is_nothing(list)) {
            list->held = true;
            status = read_header(list, why);
            break;
        }
        list->size = 0;
        list->long_row = false;
    }
    if (status != STATUS_OK) {
        goto out;
    }
    if (list->csv) {
        list->held = false;
        list->size = 0;
    }
    *opened = list;
    list = NULL;
out:
    listfile_close(list);
    return status;
}

void listfile_close(struct listfile *list)
{
    if (list != NULL) {
        if (list->file != NULL) {
            fclose(list->file);
        }
        free(list->path);
        free(list);
    }
}

const bool *listfile_header(const struct listfile *list)
{
    return list->csv ? list->named : NULL;
}

enum status listfile_next(struct listfile *list, struct policyedit_cell *cells, uint32_t *line,
                          struct why *why)
{
    enum status status = STATUS_OK;
    bool skip = true;

    while (skip) {
        struct quotes quotes = {0, false, false};
        *line = 0;
        if (!list->held) {
            list->size = 0;
            list->long_row = false;
            if (!read_line(list)) {
                return ferror(list->file)
                           ? why_set(why, STATUS_BROKEN, "%s: %s", list->path, strerror(errno))
                           : STATUS_OK;
            }
            list->first = list->line;
        }
        list->held = false;
        *line = list->first;
        if (list->first == LISTFILE_LINES) {
            return why_set(why, STATUS_BROKEN, "%s: has too many lines", list->path);
        }
        skip = is_nothing(list);
        while (!skip && list->csv && !list->long_row && is_open(list, &quotes)) {
            list->row[list->size++] = '\n';
            if (list->size >= LISTFILE_ROW || !read_line(list)) {
                return why_set(why, STATUS_BAD, "a quote is not closed");
            }
        }
        for (size_t i = 0; i < list->count; i++) {
            cells[i] = (struct policyedit_cell){NULL, 0};
        }
        if (skip) {
            continue;
        }
        if (list->long_row) {
            return why_set(why, STATUS_BAD, "is longer than %d octets", LISTFILE_ROW);
        }
        if (memchr(list->row, '\0', list->size) != NULL) {
            return why_set(why, STATUS_BAD, "holds a NUL octet");
        }
        if (!is_utf8(list->row, list->size)) {
            return why_set(why, STATUS_BAD, "is not UTF-8");
        }
        status = list->csv ? take_csv(list, cells, why) : take_line(list, cells, &skip, why);
        for (size_t i = 0; status == STATUS_OK && i < list->count; i++) {
            if (cells[i].text >= list->row && cells[i].text < list->row + LISTFILE_ROW &&
                strcmp(list->columns[i], "range") == 0) {
                close_dash(&cells[i], list->row + (cells[i].text - list->row));
            }
        }
    }
    return status;
}
