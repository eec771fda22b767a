/* The cases that all implementations share, read from the folder $SEKISHO_CASES. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "cases.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

json_t *cases_load(const char *file, json_t **cases)
{
    const char *folder = getenv("SEKISHO_CASES");
    char path[4096];
    json_error_t error;
    json_t *root;

    if (folder == NULL || folder[0] == '\0')
        fail_msg("SEKISHO_CASES names no folder: %s cannot be read", file);
    snprintf(path, sizeof path, "%s/%s", folder, file);
    /* A NUL inside a text is one of the cases. */
    root = json_load_file(path, JSON_ALLOW_NUL, &error);
    if (root == NULL)
        fail_msg("%s line %d: %s", path, error.line, error.text);
    *cases = json_object_get(root, "cases");
    if (json_array_size(*cases) == 0)
        fail_msg("%s holds no case", path);
    return root;
}

const char *case_text(const json_t *one, const char *member)
{
    return json_string_value(json_object_get(one, member));
}

char *exact_copy(const char *text, size_t size)
{
    char *copy = malloc(size > 0 ? size : 1);

    assert_non_null(copy);
    memcpy(copy, text, size);
    return copy;
}

static unsigned digit_of(char c)
{
    static const char digits[] = "0123456789abcdef";
    const char *found = c != '\0' ? strchr(digits, c) : NULL;

    if (found == NULL)
        fail_msg("'%c' is no hex digit", c);
    return (unsigned)(found - digits);
}

static void put_hex(char *to, size_t size, const char *hex)
{
    for (size_t i = 0; i < size; i++)
        to[i] = (char)(digit_of(hex[2 * i]) << 4 | digit_of(hex[2 * i + 1]));
}

char *case_bytes(const json_t *one, size_t *size)
{
    const char *hex = case_text(one, "hex");
    const char *prefix = case_text(one, "prefix_hex");
    const json_t *text = json_object_get(one, "raw");
    size_t unit, at;
    char *bytes;

    if (hex == NULL)
        hex = case_text(one, "raw_hex");
    if (text == NULL)
        text = json_object_get(one, "text");
    if (hex == NULL) {
        if (!json_is_string(text))
            fail_msg("a case without input");
        *size = json_string_length(text);
        return exact_copy(json_string_value(text), *size);
    }
    unit = strlen(hex) / 2;
    at = prefix != NULL ? strlen(prefix) / 2 : 0;
    *size = at + unit;
    if (json_object_get(one, "repeat_to") != NULL)
        *size = (size_t)json_integer_value(json_object_get(one, "repeat_to"));
    assert_true(*size >= at);
    bytes = malloc(*size > 0 ? *size : 1);
    assert_non_null(bytes);
    if (prefix != NULL)
        put_hex(bytes, at, prefix);
    while (at < *size && unit > 0) {
        size_t take = *size - at < unit ? *size - at : unit;

        put_hex(bytes + at, take, hex);
        at += take;
    }
    return bytes;
}
