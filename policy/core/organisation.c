/* Whose a name is: the domain that its organisation has registered. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "core/organisation.h"

#include <libpsl.h>
#include <string.h>

#include "core/range.h"

const char *organisation_of(const char *domain)
{
    const psl_ctx_t *list = psl_builtin();
    struct ip ip;
    const char *registered = NULL;

    if (list != NULL && !ip_parse(domain, &ip)) {
        registered = psl_registrable_domain(list, domain);
    }
    return registered != NULL ? registered : domain;
}

void organisation_of_helo(const char *helo, size_t size, char to[ADDRESS_DOMAIN_ROOM])
{
    char text[ADDRESS_DOMAIN_ROOM], name[ADDRESS_DOMAIN_ROOM];

    while (size > 0 && (helo[0] == '[' || helo[0] == ' ')) {
        helo++;
        size--;
    }
    while (size > 0 && strchr("]. ", helo[size - 1]) != NULL) {
        size--;
    }
    size = size < sizeof text ? size : sizeof text - 1;
    memcpy(text, helo, size);
    text[size] = '\0';
    if (domain_fold(text, strlen(text), name)) {
        const char *organisation = organisation_of(name);
        memcpy(to, organisation, strlen(organisation) + 1);
    } else {
        ascii_fold(text, to, ADDRESS_DOMAIN_ROOM);
    }
}
