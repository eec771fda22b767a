/* Runs one fuzzer over every file of a folder, as an ordinary test. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include <dirent.h>
#include <sys/stat.h>

#include "fuzz.h"

enum { FILE_MOST = 1 << 20 };

/* Fuzzers without one have nothing to prepare. */
__attribute__((weak)) int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    return 0;
}

static bool run_file(const char *path)
{
    struct stat seen;
    FILE *file;
    uint8_t *data = NULL;
    bool whole = false;

    if (stat(path, &seen) != 0 || !S_ISREG(seen.st_mode)) {
        return true; /* no seed */
    }
    file = fopen(path, "rb");
    if (file == NULL || seen.st_size > FILE_MOST) {
        goto out;
    }
    data = malloc((size_t)seen.st_size + 1);
    if (data == NULL || fread(data, 1, (size_t)seen.st_size, file) != (size_t)seen.st_size) {
        goto out;
    }
    uint8_t *exact = (uint8_t *)exact_copy(data, (size_t)seen.st_size, false);
    LLVMFuzzerTestOneInput(exact, (size_t)seen.st_size);
    free(exact);
    whole = true;
out:
    free(data);
    if (file != NULL) {
        fclose(file);
    }
    return whole;
}

int main(int argc, char **argv)
{
    struct dirent **names = NULL;
    int count, failed = 0, passed = 0;
    char path[4096];

    LLVMFuzzerInitialize(&argc, &argv);
    if (argc != 2 || (count = scandir(argv[1], &names, NULL, alphasort)) < 0) {
        fprintf(stderr, "usage: %s FOLDER\n", argv[0]);
        return 2;
    }
    for (int i = 0; i < count; i++) {
        if (names[i]->d_name[0] != '.') {
            snprintf(path, sizeof path, "%s/%s", argv[1], names[i]->d_name);
            if (run_file(path)) {
                passed++;
            } else {
                failed++;
                fprintf(stderr, "%s: cannot be read\n", path);
            }
        }
        free(names[i]);
    }
    free(names);
    printf("%d passed, %d failed\n", passed, failed);
    return passed > 0 && failed == 0 ? 0 : 1;
}
