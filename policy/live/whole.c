/* A small file that is there whole or not at all. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "live/whole.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { PATH_ROOM = 4096 };

static void sync_folder(const char *path)
{
    char folder[PATH_ROOM];
    const char *slash = strrchr(path, '/');
    size_t size = slash != NULL ? (size_t)(slash - path) + 1 : 0;

    if (size >= sizeof folder) {
        return;
    }
    memcpy(folder, size > 0 ? path : ".", size > 0 ? size : 1);
    folder[size > 0 ? size : 1] = '\0';
    int file = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (file >= 0) {
        fsync(file);
        close(file);
    }
}

enum status whole_write(const char *path, const char *text, mode_t mode, bool durable,
                        struct why *why)
{
    char beside[PATH_ROOM];
    size_t size = strlen(text);
    enum status status = STATUS_BROKEN;
    int file = -1;

    if (snprintf(beside, sizeof beside, "%s.new", path) >= (int)sizeof beside) {
        return why_set(why, status, "%s: name too long", path);
    }
    file = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, mode);
    if (file < 0 || write(file, text, size) != (ssize_t)size || (durable && fsync(file) != 0) ||
        rename(beside, path) != 0) {
        why_set(why, status, "%s: cannot be written: %s", path, strerror(errno));
        goto out;
    }
    if (durable) {
        sync_folder(path);
    }
    status = STATUS_OK;
out:
    if (file >= 0) {
        close(file);
    }
    return status;
}
